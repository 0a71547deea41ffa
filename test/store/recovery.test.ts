/** What recovery makes of a database with a part missing: marks of logs, and batches that LevelDB refused. */
import { mkdtempDisposable, readdir, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Level } from 'level'
import t from 'tap'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import type { Backend } from '#store/backend.ts'
import { blockKey, markKey } from '#store/keys.ts'
import { openStore, type StoreOptions } from '#store/open.ts'
import type { Store } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'
import { append, payloads, wide } from '../conformance/store-suite.ts'
import { FaultyBackend } from '../fakes/faulty-backend.ts'

const temp = () => mkdtempDisposable(join(tmpdir(), 'fescue-recovery-'))

/** Options with a boot id that the test chooses. */
async function optionsOf(
  root: string,
  boot = 'boot-1',
  machine = 'machine-1',
): Promise<StoreOptions & { folder: string }> {
  await writeFile(join(root, boot), boot)
  await writeFile(join(root, machine), machine)
  return {
    folder: join(root, 'data'),
    clock: systemClock,
    logger: silentLogger,
    freeDiskMinBytes: 0,
    tailCacheMaxBytes: 0,
    machineFiles: { bootId: join(root, boot), machineIds: [join(root, machine)] },
  }
}

async function write(store: Store, count = 10): Promise<void> {
  store.log('a', wide)
  await append(
    store,
    'a',
    Array.from({ length: count }, (_, index) => String(index)),
  )
}

async function meddle(folder: string, change: (db: Level<Buffer, Buffer>) => Promise<void>): Promise<void> {
  const db = new Level<Buffer, Buffer>(join(folder, 'level'), {
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
  })
  await db.open()
  await change(db)
  await db.close()
}

const flip = (value: Buffer): Buffer => {
  const flipped = Buffer.from(value)
  flipped[flipped.length - 1] = (flipped.at(-1) ?? 0) ^ 1
  return flipped
}

t.test('a damaged mark of a log that was read to its end gives no offset twice', async t => {
  await using dir = await temp()
  const options = await optionsOf(dir.path)
  let epoch = ''
  {
    await using store = await openStore(options)
    await write(store)
    epoch = store.epoch
    const log = store.log('a', wide)
    const tx = new Transaction().require('process')
    tx.checkpoint(log, 'consumer', { low: 10, done: [], retries: [] })
    tx.truncate(log, 10)
    await store.write(tx)
  }
  await meddle(options.folder, async db => {
    for await (const key of db.keys({ gte: blockKey(2, 0), lt: blockKey(2, 100) })) await db.del(key)
    const key = Buffer.from(markKey(2))
    await db.put(key, flip((await db.get(key)) ?? Buffer.alloc(0)))
  })
  await using store = await openStore(options)
  const log = store.log('a', wide)
  t.match(log, { head: 10, end: 10, records: 0 })
  t.not(store.epoch, epoch, 'its end is a guess: a new epoch begins')
  t.equal(store.epochs.at(-1)?.reason, 'salvage')
  await append(store, 'a', ['next'])
  const { records } = await log.read((await store.checkpoint(log, 'consumer')).low, {
    maxRecords: 10,
    maxBytes: 1e6,
  })
  t.same(
    records.map(({ payload }) => payload.toString()),
    ['next'],
    'the consumer meets what comes',
  )
})

t.test('a log that was counted anew keeps its count over further starts', async t => {
  await using dir = await temp()
  const options = await optionsOf(dir.path)
  const limits = { maxBytes: 64 * 1024, overflow: 'drop-oldest' } as const
  const kilobyte = 'x'.repeat(1024)
  let bytes = 0
  {
    await using store = await openStore(options)
    const log = store.log('a', limits)
    for (let index = 0; index < 40; index++) await append(store, 'a', [kilobyte])
    bytes = log.bytes
  }
  await meddle(options.folder, async db => {
    const key = Buffer.from(markKey(2))
    await db.put(key, flip((await db.get(key)) ?? Buffer.alloc(0)))
  })
  for (let start = 0; start < 3; start++) {
    await using store = await openStore(options)
    const log = store.log('a', limits)
    t.match(log, { head: 0, end: 40 + start, records: 40 + start, bytes }, `start ${start}`)
    await append(store, 'a', [kilobyte])
    bytes = log.bytes
  }
  await using store = await openStore(options)
  const log = store.log('a', limits)
  for (let index = 0; index < 200; index++) await append(store, 'a', [kilobyte])
  t.equal(log.end, 243)
  t.ok(log.bytes <= limits.maxBytes)
})

t.test('the journal gives back what came after a write that LevelDB refused', async t => {
  await using dir = await temp()
  const options = { ...(await optionsOf(dir.path)), journalSegmentBytes: 64 * 1024 }
  // The system's timers do not keep the process alive.
  const awake = setInterval(() => {}, 1_000)
  t.teardown(() => clearInterval(awake))
  let faulty: FaultyBackend | undefined
  let inner: Backend | undefined
  const store = await openStore({
    ...options,
    wrapBackend: backend => {
      inner = backend
      faulty = new FaultyBackend(backend)
      return faulty
    },
  })
  store.log('a', wide)
  for (let index = 0; index < 40; index++) await append(store, 'a', [`${index}`.padEnd(4096)])
  let refusals = 2
  if (faulty !== undefined) faulty.failBatch = () => (refusals-- > 0 ? 'before' : undefined)
  for (let index = 40; index < 60; index++) await append(store, 'a', [`${index}`.padEnd(4096)])
  if (faulty !== undefined) faulty.failBatch = () => 'hang'
  await inner?.close()
  const logs = (await readdir(join(options.folder, 'level'))).filter(name => name.endsWith('.log')).sort()
  await truncate(join(options.folder, 'level', logs.at(-1) ?? ''), 0)
  await using again = await openStore({ ...options, ...(await optionsOf(dir.path, 'boot-2')) })
  t.same(
    (await payloads(again, 'a')).map(text => text.trimEnd()),
    Array.from({ length: 60 }, (_, index) => `${index}`),
  )
})
