import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { type Clock, systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import { openStore } from '#store/open.ts'
import type { Store, StoreHealth } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'
import { waitingMaxBytes } from '#store/writer.ts'
import { append, payloads, record, wide } from '../conformance/store-suite.ts'
import { FaultyBackend } from '../fakes/faulty-backend.ts'

/** The system's clock, but a test waits for its timers. */
const clock: Clock = {
  ...systemClock,
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs)
    return () => clearTimeout(timer)
  },
}

async function openFaulty(
  folder: string | undefined = undefined,
): Promise<{ store: Store; backend: FaultyBackend }> {
  let backend: FaultyBackend | undefined
  const store = await openStore({
    folder,
    clock,
    logger: silentLogger,
    freeDiskMinBytes: 0,
    wrapBackend: inner => {
      backend = new FaultyBackend(inner)
      return backend
    },
  })
  if (backend === undefined) throw new Error('not wrapped')
  await store.sync()
  return { store, backend }
}

const write = (store: Store, log: string, text: string): Promise<void> => {
  const tx = new Transaction().require('power')
  tx.append(store.log(log, wide), record(text))
  return store.write(tx)
}

t.test('who comes while a batch is on its way shares the next one', async t => {
  const { store, backend } = await openFaulty()
  const before = backend.batches
  await Promise.all(Array.from({ length: 1_000 }, (_, index) => write(store, 'a', String(index))))
  t.ok(backend.batches - before <= 3, `${backend.batches - before} batches`)
  t.equal((await payloads(store, 'a')).length, 1_000)
  await store[Symbol.asyncDispose]()
})

for (const fault of ['before', 'after'] as const) {
  t.test(`a write that fails ${fault} it took effect is tried again, and applied once`, async t => {
    await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-writer-'))
    for (const folder of [undefined, dir.path]) {
      const { store, backend } = await openFaulty(folder)
      const seen: StoreHealth[] = []
      store.onHealth(health => seen.push(health))
      const first = backend.batches
      backend.failBatch = batch => (batch >= first + 2 && batch < first + 5 ? fault : undefined)
      await Promise.all(Array.from({ length: 40 }, (_, index) => write(store, 'a', String(index))))
      for (let index = 40; index < 60; index++) await write(store, 'a', String(index))
      t.same(
        await payloads(store, 'a'),
        Array.from({ length: 60 }, (_, index) => String(index)),
      )
      t.ok(backend.reopens >= 1)
      t.match(seen[0], { state: 'degraded' })
      t.same(store.health, { state: 'ok' })
      await store[Symbol.asyncDispose]()
    }
  })
}

t.test('while writes fail the store takes nothing new, and says why', async t => {
  const { store, backend } = await openFaulty()
  const degraded = new Promise<StoreHealth>(resolve => store.onHealth(resolve))
  backend.failBatch = () => 'before'
  const waiting = write(store, 'a', 'x')
  t.match(await degraded, { state: 'degraded', reason: 'disk-failing', message: /injected/ })
  t.equal(store.accepting, false)
  const recovered = new Promise<StoreHealth>(resolve => store.onHealth(resolve))
  backend.failBatch = () => undefined
  await waiting
  t.match(await recovered, { state: 'ok' })
  t.equal(store.accepting, true)
  await store[Symbol.asyncDispose]()
})

t.test('a database that does not open again is tried until it does', async t => {
  const { store, backend } = await openFaulty()
  const first = backend.batches
  let refusals = 3
  backend.failBatch = batch => (batch === first + 1 ? 'before' : undefined)
  backend.failReopen = () => refusals-- > 0
  await write(store, 'a', 'x')
  t.equal(backend.reopens, 4)
  t.same(await payloads(store, 'a'), ['x'])
  await store[Symbol.asyncDispose]()
})

for (const fault of ['before', 'hang'] as const) {
  t.test(`closing over a disk that ${fault === 'hang' ? 'does not answer' : 'fails'} is prompt`, async t => {
    const { store, backend } = await openFaulty()
    backend.failBatch = () => fault
    const waiting = Promise.allSettled([write(store, 'a', 'x'), write(store, 'a', 'y'), store.sync()])
    await new Promise(resolve => setTimeout(resolve, 20))
    const started = performance.now()
    await store[Symbol.asyncDispose]()
    t.ok(performance.now() - started < 2_000, `${Math.round(performance.now() - started)} ms`)
    for (const end of await waiting)
      t.match(end, { status: 'rejected', reason: { code: 'FESCUE_STORE_CLOSED' } })
  })
}

t.test('closing writes what is waiting, class memory too', async t => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-writer-'))
  const { store } = await openFaulty(dir.path)
  store.log('a', wide)
  await append(store, 'a', ['1'])
  for (const durability of ['memory', 'process', 'power'] as const) {
    const tx = new Transaction().require(durability)
    tx.append(store.log('a', wide), record(durability))
    store.commit(tx)
  }
  await store[Symbol.asyncDispose]()
  const { store: again } = await openFaulty(dir.path)
  t.same(await payloads(again, 'a'), ['1', 'memory', 'process', 'power'])
  await again[Symbol.asyncDispose]()
})

t.test('what waits for a slow disk has a bound: the store stops accepting there', async t => {
  const { store, backend } = await openFaulty()
  let release = (): void => {}
  const held = new Promise<void>(resolve => {
    release = resolve
  })
  backend.onBatch = () => held
  const log = store.log('a', { maxBytes: 1e9, overflow: 'block' })
  let handed = 0
  const ends: Promise<void>[] = []
  while (store.accepting && handed < 2 * waitingMaxBytes) {
    const tx = new Transaction().require('process')
    tx.append(log, { ...record(''), payload: Buffer.alloc(200_000) })
    ends.push(store.write(tx))
    handed += 200_000
    if (ends.length === 1) await new Promise(resolve => setImmediate(() => setImmediate(resolve)))
  }
  t.ok(handed <= waitingMaxBytes + 3 * 1024 * 1024, `${handed} bytes`)
  release()
  await Promise.all(ends)
  t.equal(store.accepting, true)
  await store[Symbol.asyncDispose]()
})

t.test('readers see what is under way: documents and checkpoints of a batch that hangs', async t => {
  const { store, backend } = await openFaulty()
  const log = store.log('a', wide)
  await store.sync()
  let release = (): void => {}
  const held = new Promise<void>(resolve => {
    release = resolve
  })
  backend.onBatch = () => held
  const values: Promise<void>[] = []
  for (const value of ['1', '2', '3']) {
    const tx = new Transaction().require('power')
    tx.put('s', 'k', Buffer.from(value))
    tx.checkpoint(log, 'c', { low: Number(value), done: [], retries: [] })
    values.push(store.write(tx))
    await new Promise(resolve => setImmediate(resolve))
    t.equal((await store.get('s', 'k'))?.toString(), value)
    t.equal((await store.checkpoint(log, 'c')).low, Number(value))
  }
  release()
  await Promise.all(values)
  t.equal((await store.get('s', 'k'))?.toString(), '3')
  await store[Symbol.asyncDispose]()
})

t.test('a seeded storm of failing writes loses nothing and keeps the order of callbacks', async t => {
  const seed = Math.floor(Math.random() * 1e9)
  let state = seed
  const random = () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    return state / 2 ** 31
  }
  await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-writer-'))
  const { store, backend } = await openFaulty(dir.path)
  backend.failBatch = () => (random() < 0.2 ? (random() < 0.5 ? 'before' : 'after') : undefined)
  const order: number[] = []
  const log = store.log('a', wide)
  const ends: Promise<void>[] = []
  for (let index = 0; index < 300; index++) {
    const tx = new Transaction().require(random() < 0.5 ? 'power' : 'process')
    tx.append(log, record(String(index)))
    ends.push(new Promise(resolve => store.commit(tx, () => resolve(void order.push(index)))))
    if (random() < 0.1) await ends.at(-1)
  }
  await Promise.all(ends)
  t.same(
    order,
    Array.from({ length: 300 }, (_, index) => index),
    `seed ${seed}`,
  )
  backend.failBatch = () => undefined
  await store[Symbol.asyncDispose]()
  const { store: again } = await openFaulty(dir.path)
  t.same(await payloads(again, 'a'), order.map(String), `seed ${seed}`)
  await again[Symbol.asyncDispose]()
})

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

/** Holds every batch until the returned function is called. */
function hold(backend: FaultyBackend): () => void {
  const { promise, resolve } = Promise.withResolvers<void>()
  backend.onBatch = () => promise
  return resolve
}

t.test(
  'what a callback commits is reported after its own batch, not with the one that is reported',
  async t => {
    const { store, backend } = await openFaulty()
    const log = store.log('a', wide)
    await store.sync()
    const release = hold(backend)
    const reported: string[] = []
    store.commit(new Transaction().require('power'), () => {
      reported.push('empty')
      const tx = new Transaction().require('power')
      tx.append(log, record('x'))
      store.commit(tx, () => reported.push(`written, end ${log.end}`))
    })
    for (let turns = 0; turns < 5; turns++) await turn()
    t.same(reported, ['empty'], 'the disk has not answered')
    release()
    await store.sync()
    t.same(reported, ['empty', 'written, end 1'])
    await store[Symbol.asyncDispose]()
  },
)

for (const durability of ['memory', 'power'] as const) {
  t.test(`a transaction of class ${durability} is not reported before those that came earlier`, async t => {
    const { store, backend } = await openFaulty()
    const log = store.log('a', wide)
    const first = new Transaction().require('memory')
    first.append(log, record('0'))
    await store.write(first)
    await store.sync()
    const release = hold(backend)
    const reported: number[] = []
    const commit = (number: number, tx: Transaction) => store.commit(tx, () => reported.push(number))
    const written = new Transaction().require('power')
    written.append(log, record('1'))
    commit(1, written)
    await turn()
    const later = new Transaction().require(durability)
    if (durability === 'memory') later.append(log, record('2'))
    commit(2, later)
    await turn()
    release()
    while (reported.length < 2) await turn()
    t.same(reported, [1, 2])
    await store[Symbol.asyncDispose]()
  })
}

t.test(
  'a clean end makes safe what was only written: it keeps its epoch, after a loss of power too',
  async t => {
    const { store, backend } = await openFaulty()
    const tx = new Transaction().require('process')
    tx.append(store.log('a', wide), record('x'))
    await store.write(tx)
    const synced: string[][] = []
    backend.onBatch = (operations, sync) => {
      if (sync) synced.push(operations.map(({ key }) => key.toString()))
    }
    await store[Symbol.asyncDispose]()
    t.equal(synced.length, 2)
    t.notOk(synced[0]?.includes('Nrun'), 'first what the journal holds too')
    t.same(synced[1], ['Nrun'], 'then the marker')
  },
)
