/** A LevelDB database of random puts and deletes, in many tables, and a map of what it holds. */
import { Level } from 'level'
import type { Random } from '../harness/random.ts'

export type Database = Level<Buffer, Buffer> & { compactRange(from: Buffer, to: Buffer): Promise<void> }

export async function openDatabase(folder: string, options: object = {}): Promise<Database> {
  const database = new Level<Buffer, Buffer>(folder, {
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
    writeBufferSize: 64 * 1024,
    maxFileSize: 1024 * 1024,
    ...options,
  } as object) as Database
  await database.open()
  return database
}

/** Text by latin1, so that keys can be compared and looked up. */
export type Model = Map<string, string>

const someKey = (random: Random): Buffer => {
  const key = Buffer.from(`key ${random.int(0, 2_000)}`)
  return random.int(0, 8) === 0 ? Buffer.from([0x42, 0, 0, 0, random.int(0, 3), ...key, 0xff]) : key
}

function someValue(random: Random): Buffer {
  const kind = random.int(0, 20)
  if (kind === 0) return Buffer.alloc(0)
  if (kind === 1) return Buffer.from(Array.from({ length: random.int(1, 3_000) }, () => random.int(0, 256)))
  if (kind === 2) return Buffer.alloc(random.int(20_000, 90_000), `large ${random.int(0, 99)}`)
  return Buffer.from(`value ${random.int(0, 1e9)} `.repeat(random.int(1, 12)))
}

/** Writes batches of random operations, and compacts now and then. */
export async function scribble(
  database: Database,
  model: Model,
  random: Random,
  batches: number,
): Promise<void> {
  for (let round = 0; round < batches; round++) {
    const operations = Array.from({ length: random.int(1, 40) }, () => {
      const key = someKey(random)
      return random.int(0, 4) === 0
        ? ({ type: 'del', key } as const)
        : ({ type: 'put', key, value: someValue(random) } as const)
    })
    await database.batch(operations, {})
    for (const operation of operations) {
      const name = operation.key.toString('latin1')
      if (operation.type === 'del') model.delete(name)
      else model.set(name, operation.value.toString('latin1'))
    }
    if (random.int(0, 60) === 0) {
      const [from = '', to = ''] = [`key ${random.int(0, 2_000)}`, `key ${random.int(0, 2_000)}`].sort()
      await database.compactRange(Buffer.from(from), Buffer.from(to))
    }
  }
}

/** All that a database holds, in its order. */
export async function contentOf(folder: string): Promise<Model> {
  const database = await openDatabase(folder)
  try {
    const content: Model = new Map()
    for await (const [key, value] of database.iterator())
      content.set(key.toString('latin1'), value.toString('latin1'))
    return content
  } finally {
    await database.close()
  }
}

export const sorted = (model: Model): [string, string][] =>
  [...model].sort(([a], [b]) => Buffer.compare(Buffer.from(a, 'latin1'), Buffer.from(b, 'latin1')))
