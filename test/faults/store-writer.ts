/**
 * A process that writes records of 4 committers without end and prints each acknowledged payload, to be killed
 * at any time. `canary` acknowledges before the write, `unsynced` asks
 * for no sync: a test that does not notice is no test.
 *
 *   BOOT_ID=FILE node store-writer.ts FOLDER FIRST [canary | unsynced]
 */
import { writeSync } from 'node:fs'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import { openStore } from '#store/open.ts'
import { Transaction } from '#store/transaction.ts'

const [folder = '', first = '0', mode] = process.argv.slice(2)
const bootId = process.env.BOOT_ID
const store = await openStore({
  folder,
  clock: systemClock,
  logger: silentLogger,
  freeDiskMinBytes: 0,
  writeBufferBytes: 256 * 1024,
  journalSegmentBytes: 256 * 1024,
  journal: process.env.JOURNAL !== 'off',
  ...(bootId === undefined ? {} : { machineFiles: { bootId, machineIds: [] } }),
})
const log = store.log('inbox.count', { maxBytes: 1e9, overflow: 'block' })
let next = Number(first)

function write(): void {
  const tx = new Transaction().require(next % 3 === 0 || mode === 'unsynced' ? 'process' : 'power')
  const number = next++
  tx.append(log, {
    time: Date.now(),
    topic: 'a',
    qos: 1,
    payload: Buffer.from(String(number).padEnd(200, '.')),
  })
  tx.put('counts', 'last', Buffer.from(String(number)))
  tx.checkpoint(log, 'consumer', { low: number, done: [], retries: [] })
  const acknowledge = () => writeSync(1, `${number}\n`)
  if (mode === 'canary') acknowledge()
  store.commit(tx, () => {
    if (mode !== 'canary') acknowledge()
    setImmediate(write)
  })
}

for (let committer = 0; committer < 4; committer++) write()
