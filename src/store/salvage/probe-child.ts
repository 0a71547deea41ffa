/**
 * The process that `probe.ts` starts: it opens the database, which compacts what is due, and compacts the rest.
 *
 *   node probe-child.ts FOLDER
 */
import { Level } from 'level'

const [folder = ''] = process.argv.slice(2)
const database = new Level<Buffer, Buffer>(folder, {
  keyEncoding: 'buffer',
  valueEncoding: 'buffer',
  createIfMissing: false,
}) as Level<Buffer, Buffer> & { compactRange(from: Buffer, to: Buffer): Promise<void> }
await database.open()
await database.compactRange(Buffer.from([0]), Buffer.alloc(32, 0xff))
await database.close()
