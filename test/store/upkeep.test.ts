import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { silentLogger } from '#base/logger.ts'
import type { Backend } from '#store/backend.ts'
import { blockKey } from '#store/keys.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'
import { compactAfterBytes, trimStepBlocks } from '#store/upkeep.ts'
import { all, append, payloads, record, wide } from '../conformance/store-suite.ts'
import { FaultyBackend } from '../fakes/faulty-backend.ts'
import { ManualClock } from '../fakes/manual-clock.ts'

async function openWatched(
  folder?: string,
): Promise<{ store: Store; backend: FaultyBackend; clock: ManualClock; blocks(): Promise<number> }> {
  const clock = new ManualClock()
  let backend: FaultyBackend | undefined
  const store = await openStore({
    folder,
    clock,
    logger: silentLogger,
    freeDiskMinBytes: 0,
    tailCacheMaxBytes: 0,
    wrapBackend: (inner: Backend) => {
      backend = new FaultyBackend(inner)
      return backend
    },
  })
  if (backend === undefined) throw new Error('not wrapped')
  const inner = backend
  const blocks = async () =>
    (await inner.keys({ gte: blockKey(2, 0), lt: blockKey(2, 2 ** 40), limit: 1_000_000, maxBytes: 1e9 }))
      .length
  return { store, backend, clock, blocks }
}

/** Lets timers ring and background work finish, until `done` says so. */
async function turnUntil(clock: ManualClock, done: () => Promise<boolean> | boolean): Promise<void> {
  for (let round = 0; round < 2_000; round++) {
    if (await done()) return
    clock.advance(100)
    await new Promise(resolve => setImmediate(resolve))
  }
  throw new Error('never came to an end')
}

async function appendApart(store: Store, count: number): Promise<void> {
  for (let index = 0; index < count; index++) await append(store, 'a', [String(index)])
}

const truncate = (store: Store, to: number): Promise<void> => {
  const log = store.findLog('a')
  if (log === undefined) throw new Error('no log')
  const tx = new Transaction().require('process')
  tx.truncate(log, to)
  return store.write(tx)
}

t.test('truncated blocks are deleted in steps of bounded size, and nothing above the head', async t => {
  const { store, backend, clock, blocks } = await openWatched()
  store.log('a', wide)
  const count = 2 * trimStepBlocks + 50
  await appendApart(store, count)
  t.equal(await blocks(), count)
  let largest = 0
  backend.onBatch = operations => {
    largest = Math.max(largest, operations.filter(operation => operation.type === 'del').length)
  }
  await truncate(store, count - 20)
  await turnUntil(clock, async () => (await blocks()) === 20)
  t.ok(largest <= 2 * trimStepBlocks, `${largest} deletions in a batch`)
  t.same((await payloads(store, 'a')).length, 20)
  await truncate(store, count)
  await turnUntil(clock, async () => (await blocks()) === 0)
  await store[Symbol.asyncDispose]()
})

t.test('a block that reaches above the head stays whole', async t => {
  const { store, clock, blocks } = await openWatched()
  store.log('a', wide)
  await append(
    store,
    'a',
    Array.from({ length: 100 }, (_, index) => String(index)),
  )
  await append(store, 'a', ['x'])
  await truncate(store, 50)
  for (let round = 0; round < 20; round++) {
    clock.advance(500)
    await new Promise(resolve => setImmediate(resolve))
  }
  t.equal(await blocks(), 2)
  t.equal((await payloads(store, 'a')).length, 51)
  await store[Symbol.asyncDispose]()
})

t.test('reads of a head above ten thousand deleted keys do not scan them', async t => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-upkeep-'))
  const { store, backend, clock } = await openWatched(dir.path)
  const log = store.log('a', wide)
  // Blocks of one record each, written past the store so that the test is quick.
  const count = 10_000
  for (let from = 0; from < count; from += 5_000) {
    const tx = new Transaction().require('process')
    for (let index = 0; index < 5_000; index++) tx.append(log, record('x'))
    await store.write(tx)
    const filler = Array.from({ length: 5_000 }, (_, index) => ({
      type: 'put' as const,
      key: blockKey(2, from + index),
      value: Buffer.from('no block'),
    })).slice(1)
    await backend.inner.batch(filler, false)
  }
  await truncate(store, count)
  await append(store, 'a', ['head'])
  const at = log.end - 1
  await truncate(store, at)
  const first = () => backend.keys({ gte: blockKey(2, 0), lt: blockKey(2, at), limit: 1 })
  await turnUntil(clock, async () => (await first()).length === 0)
  const started = performance.now()
  for (let round = 0; round < 20; round++) t.equal((await log.read(0, all)).records.length, 1)
  const each = (performance.now() - started) / 20
  t.ok(each < 10, `${each.toFixed(2)} ms a read`)
  await store[Symbol.asyncDispose]()
})

t.test('the range of a log is compacted each time enough bytes of it were deleted', async t => {
  const { store, backend, clock, blocks } = await openWatched()
  const log = store.log('a', wide)
  const rounds = 3
  for (let round = 0; round < rounds; round++) {
    for (let index = 0; index < 9; index++) {
      const tx = new Transaction().require('process')
      tx.append(log, { ...record(''), payload: Buffer.alloc(Math.ceil(compactAfterBytes / 8)) })
      await store.write(tx)
    }
    await truncate(store, log.end)
    await turnUntil(clock, async () => (await blocks()) === 0)
    await turnUntil(clock, () => backend.compactions === round + 1)
  }
  t.equal(backend.compactions, rounds)
  await store[Symbol.asyncDispose]()
})

t.test('records older than maxAgeMs go into the ledger, on the sweep', async t => {
  const { store, clock } = await openWatched()
  const log = store.log('a', { maxBytes: 1e6, maxAgeMs: 60_000, overflow: 'block' })
  const put = (text: string) => {
    const tx = new Transaction().require('process')
    tx.append(log, { ...record(text), time: clock.now() })
    return store.write(tx)
  }
  await put('old')
  clock.advance(50_000)
  await put('young')
  t.equal(log.records, 2)
  clock.advance(15_000)
  await store.sync()
  t.same(await payloads(store, 'a'), ['young'])
  clock.advance(120_000)
  await store.sync()
  t.equal(log.records, 0)
  t.equal(store.stats.lost.age, 2)
  const entries = (await payloads(store, 'ledger')).map(text => JSON.parse(text))
  t.match(entries, [
    { reason: 'age', from: 0, to: 1, records: 1 },
    { reason: 'age', from: 1, to: 2, records: 1 },
  ])
  await store[Symbol.asyncDispose]()
})

t.test('sums of counts are entered when their second is over', async t => {
  const { store, clock } = await openWatched()
  const log = store.log('a', wide)
  for (let index = 0; index < 10; index++) {
    const tx = new Transaction().require('process')
    tx.lose(log, { from: 3, to: 3 }, 2, 'qos0')
    await store.write(tx)
  }
  await turnUntil(clock, () => store.ledger.end === 2)
  const entries = (await payloads(store, 'ledger')).map(text => JSON.parse(text))
  t.match(entries, [
    { reason: 'qos0', records: 2, from: 3, to: 3 },
    { reason: 'qos0', records: 18 },
  ])
  await store[Symbol.asyncDispose]()
})

t.test(
  'keep-latest drops what a later record of its key replaced, and keeps the last of each key',
  async t => {
    await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-upkeep-'))
    for (const folder of [undefined, dir.path]) {
      const { store, clock } = await openWatched(folder)
      const log = store.log('a', { maxBytes: 40_000, overflow: 'keep-latest' })
      const put = async (topic: string, text: string) => {
        const tx = new Transaction().require('process')
        tx.append(log, { ...record(text), topic })
        await store.write(tx)
      }
      for (let index = 0; index < 20; index++) await put(`rare/${index}`, `rare ${index}`)
      for (let index = 0; index < 1_000; index++) await put('busy', `busy ${index}`.padEnd(80))
      await turnUntil(clock, () => log.bytes <= 40_000)
      await store.sync()
      const found = await payloads(store, 'a')
      for (let index = 0; index < 20; index++) t.ok(found.includes(`rare ${index}`), `rare ${index} is kept`)
      t.equal(found.at(-1)?.trim(), 'busy 999')
      t.ok(found.length < 1_000)
      t.equal(log.records, found.length)
      await store.sync()
      const lost = (await payloads(store, 'ledger')).map(text => JSON.parse(text))
      t.equal(
        lost.reduce((sum, entry) => sum + entry.records, 0),
        1_020 - found.length,
        'the ledger explains each',
      )
      const result = await log.read(0, all)
      t.same(result.lost, [], 'what was dropped on purpose is no damage')
      await store[Symbol.asyncDispose]()
    }
  },
)

t.test('keep-latest of nothing but different keys drops the oldest', async t => {
  const { store, clock } = await openWatched()
  const log = store.log('a', { maxBytes: 20_000, overflow: 'keep-latest' })
  for (let index = 0; index < 1_000; index++) {
    const tx = new Transaction().require('process')
    tx.append(log, { ...record('x'.repeat(40)), topic: `t/${index}` })
    await store.write(tx)
  }
  await turnUntil(clock, () => log.bytes <= 20_000)
  t.ok(log.head > 0)
  t.equal((await payloads(store, 'a')).length, log.records)
  await store[Symbol.asyncDispose]()
})

t.test('what is left of a removed log is deleted, over a restart too', async () => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-upkeep-'))
  {
    const { store } = await openWatched(dir.path)
    const log = store.log('a', wide)
    await appendApart(store, 40)
    const tx = new Transaction().require('process')
    tx.checkpoint(log, 'c', { low: 1, done: [], retries: [] })
    await store.write(tx)
    await store.removeLog(log)
    await store[Symbol.asyncDispose]()
  }
  const { store, backend, clock, blocks } = await openWatched(dir.path)
  await turnUntil(clock, async () => (await blocks()) === 0)
  await turnUntil(clock, async () => {
    const rest = await backend.keys({ gte: Buffer.from('C'), lt: Buffer.from('Z'), limit: 100_000 })
    return !rest.some(key => key.toString().slice(1, 9) === '00000002')
  })
  await store[Symbol.asyncDispose]()
})
