/**
 * What every store must do, whatever lies under it. `store.test.ts` runs it over LevelDB and in memory.
 */
import type { Test } from 'tap'
import type { LogLimits } from '#store/commit-log.ts'
import type { RecordInput } from '#store/record.ts'
import type { Store } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'

export const wide: LogLimits = { maxBytes: 64 * 1024 * 1024, overflow: 'block' }
export const all = { maxRecords: 1_000_000, maxBytes: 1_000_000_000 }

export function record(payload: string, more: Partial<RecordInput> = {}): RecordInput {
  return { time: 1_700_000_000_000, topic: 'a/b', qos: 1, payload: Buffer.from(payload), ...more }
}

/** Appends payloads in one transaction each, and waits for all. */
export async function append(store: Store, log: string, payloads: readonly string[]): Promise<void> {
  const target = store.findLog(log)
  if (target === undefined) throw new Error(`no log ${log}`)
  await Promise.all(
    payloads.map(payload => {
      const tx = new Transaction().require('process')
      tx.append(target, record(payload))
      return store.write(tx)
    }),
  )
}

/** All payloads of a log from an offset, through as many reads as it takes. */
export async function payloads(store: Store, name: string, from = 0, limits = all): Promise<string[]> {
  const log = store.findLog(name)
  if (log === undefined) throw new Error(`no log ${name}`)
  const found: string[] = []
  for (let at = Math.max(from, log.head); at < log.end; ) {
    const result = await log.read(at, limits)
    for (const item of result.records) found.push(item.payload.toString())
    if (result.next <= at) throw new Error(`read stands still at ${at}`)
    at = result.next
  }
  return found
}

const numbers = (count: number, from = 0): string[] =>
  Array.from({ length: count }, (_, index) => String(index + from))

/** `open` gives a fresh store; `again`, where the store keeps things, closes it and opens it anew. */
export function storeSuite(
  t: Test,
  open: (options?: { tailCacheMaxBytes?: number }) => Promise<Store>,
  again?: (store: Store) => Promise<Store>,
): void {
  t.test('offsets are dense from 0, given at once, and kept by the records', async t => {
    await using store = await open()
    const log = store.log('a', wide)
    const tx = new Transaction().require('power')
    const given = [tx.append(log, record('x')), tx.append(log, record('y'))]
    const held = store.write(tx)
    t.same(
      given.map(item => item.offset),
      [0, 1],
    )
    t.equal(log.end, 0, 'not readable before the commit')
    await held
    t.equal(log.end, 2)
    t.equal(log.synced, 2)
    const { records, next } = await log.read(0, all)
    t.same(
      records.map(item => [item.offset, item.payload.toString(), item.epoch]),
      [
        [0, 'x', store.epoch],
        [1, 'y', store.epoch],
      ],
    )
    t.equal(next, 2)
  })

  t.test('callbacks run in commit order, onCommitted before done, listeners after', async t => {
    await using store = await open()
    const log = store.log('a', wide)
    const order: string[] = []
    log.onAppend(() => order.push('append'))
    const finished: Promise<void>[] = []
    for (const [index, durability] of (['process', 'memory', 'power', 'process'] as const).entries()) {
      const tx = new Transaction().require(durability)
      tx.append(log, record(String(index)))
      tx.onCommitted(() => order.push(`committed ${index}`))
      finished.push(new Promise(resolve => store.commit(tx, () => resolve(void order.push(`done ${index}`)))))
    }
    const empty = new Transaction()
    finished.push(new Promise(resolve => store.commit(empty, () => resolve(void order.push('empty')))))
    await Promise.all(finished)
    await new Promise(resolve => setImmediate(resolve))
    t.same(order, [
      ...[0, 1, 2, 3].flatMap(index => [`committed ${index}`, `done ${index}`]),
      'empty',
      'append',
    ])
  })

  t.test('a callback that throws stops no other', async t => {
    await using store = await open()
    const log = store.log('a', wide)
    const caught = new Promise<Error>(resolve => process.once('uncaughtException', resolve))
    const bad = new Transaction().require('process')
    bad.append(log, record('x'))
    store.commit(bad, () => {
      throw new Error('defect')
    })
    await append(store, 'a', ['y'])
    t.match(await caught, { message: 'defect' })
  })

  t.test('an empty transaction is done when all before it are', async t => {
    await using store = await open()
    const log = store.log('a', wide)
    let isDone = false
    const tx = new Transaction().require('power')
    tx.append(log, record('x'))
    store.commit(tx, () => {
      isDone = true
    })
    await store.write(new Transaction())
    t.equal(isDone, true)
    await store.write(new Transaction())
  })

  t.test('class memory is reported and readable before it is written, in order', async t => {
    await using store = await open()
    const log = store.log('a', wide)
    const first = new Transaction().require('memory')
    first.append(log, record('first of a run is written at once'))
    await store.write(first)
    const before = store.stats.batches
    for (const payload of ['x', 'y']) {
      const tx = new Transaction()
      tx.append(log, record(payload))
      tx.put('space', 'key', Buffer.from(payload))
      await store.write(tx)
    }
    t.equal(store.stats.batches, before, 'no batch was written for them')
    t.same((await payloads(store, 'a')).slice(1), ['x', 'y'])
    t.equal((await store.get('space', 'key'))?.toString(), 'y')
    await append(store, 'a', ['z'])
    t.same((await payloads(store, 'a')).slice(1), ['x', 'y', 'z'])
    t.equal(log.synced, 0)
    await store.sync()
    t.equal(log.synced, 4)
  })

  t.test('reads stop at each of their limits and give at least one record', async t => {
    await using store = await open({ tailCacheMaxBytes: 0 })
    store.log('a', wide)
    await append(store, 'a', numbers(100))
    const log = store.log('a', wide)
    t.equal((await log.read(0, { maxRecords: 7, maxBytes: 1e6 })).records.length, 7)
    t.equal((await log.read(10, { maxRecords: 7, maxBytes: 1 })).records[0]?.payload.toString(), '10')
    t.equal((await log.read(10, { maxRecords: 7, maxBytes: 1 })).records.length, 1)
    t.same((await log.read(100, all)).records, [])
    t.same(await payloads(store, 'a', 0, { maxRecords: 3, maxBytes: 1e6 }), numbers(100))
  })

  t.test('what is read from disk equals what is read from memory', async t => {
    await using cached = await open()
    await using uncached = await open({ tailCacheMaxBytes: 0 })
    const full = record('p', {
      retain: true,
      hops: 3,
      origin: 'mqtt:c',
      key: 'k',
      expiresAt: 5,
      priority: 9,
      messageId: 'm',
      trace: '00-1-2-01',
      contentType: 'text/plain',
      retryOf: 'dead.f.1/7',
      extra: '{"é":"✓"}',
      topic: 'ö/😀',
    })
    const results = []
    for (const store of [cached, uncached]) {
      const log = store.log('a', wide)
      const tx = new Transaction().require('process')
      tx.append(log, full)
      tx.append(log, record('plain'))
      await store.write(tx)
      results.push((await log.read(0, all)).records.map(item => ({ ...item, epoch: '' })))
    }
    t.ok(cached.findLog('a')?.readCached(0, all) !== undefined)
    t.equal(uncached.findLog('a')?.readCached(0, all), undefined)
    t.same(results[0], results[1])
    t.match(results[0]?.[0], { ...full })
  })

  t.test('truncation moves head, counts down, and reads start there', async t => {
    await using store = await open({ tailCacheMaxBytes: 0 })
    const log = store.log('a', wide)
    await append(store, 'a', numbers(50))
    const bytes = log.bytes
    const tx = new Transaction().require('process')
    tx.truncate(log, 20)
    await store.write(tx)
    t.equal(log.head, 20)
    t.equal(log.records, 30)
    t.ok(log.bytes < bytes && log.bytes > bytes / 2)
    t.same(await payloads(store, 'a'), numbers(30, 20))
    const rest = new Transaction().require('process')
    rest.truncate(log, 1_000)
    await store.write(rest)
    t.equal(log.head, 50, 'never above the end')
    t.equal(log.bytes, 0)
    await append(store, 'a', ['next'])
    t.same(
      (await log.read(0, all)).records.map(item => item.offset),
      [50],
    )
  })

  t.test('drop-oldest keeps a log within its bounds and the ledger counts exactly', async t => {
    await using store = await open({ tailCacheMaxBytes: 0 })
    const log = store.log('a', { maxBytes: 1_000_000, maxRecords: 64, overflow: 'drop-oldest' })
    await append(store, 'a', numbers(1_000))
    t.ok(log.records <= 64, `${log.records} records`)
    t.ok(log.records >= 60)
    t.equal(log.end, 1_000)
    t.same(await payloads(store, 'a'), numbers(log.records, 1_000 - log.records))
    const entries = (await payloads(store, 'ledger')).map(text => JSON.parse(text))
    t.equal(
      entries.reduce((sum, entry) => sum + entry.records, 0),
      1_000 - log.records,
    )
    let at = 0
    for (const entry of entries) {
      t.equal(entry.from, at)
      t.equal(entry.to - entry.from, entry.records)
      t.match(entry, { log: 'a', reason: 'overflow', incarnation: log.incarnation, epoch: store.epoch })
      at = entry.to
    }
    t.equal(at, log.head)
    t.equal(store.stats.lost.overflow, 1_000 - log.records)
  })

  t.test('room answers by the policy of the log, and says when there is room again', async t => {
    await using store = await open()
    const block = store.log('block', { maxBytes: 1e6, maxRecords: 2, overflow: 'block' })
    const newest = store.log('newest', { maxBytes: 1e6, maxRecords: 2, overflow: 'drop-newest' })
    const oldest = store.log('oldest', { maxBytes: 1e6, maxRecords: 2, overflow: 'drop-oldest' })
    t.equal(block.room(2e6, true), 'fits', 'an empty log takes one record of any size')
    for (const log of [block, newest, oldest]) await append(store, log.name, ['1', '2'])
    t.equal(block.room(1, true), 'wait')
    t.equal(block.room(1, false), 'drop-newest')
    t.equal(newest.room(1, true), 'drop-newest')
    t.equal(oldest.room(1, true), 'drop-oldest')
    let calls = 0
    const forget = block.onRoom(() => calls++)
    const tx = new Transaction().require('process')
    tx.truncate(block, 1)
    await store.write(tx)
    t.equal(calls, 1)
    t.equal(block.room(1, true), 'fits')
    forget()
  })

  t.test('counts without offsets reach the ledger: the first at once, the rest as one entry', async t => {
    await using store = await open()
    const log = store.log('a', wide)
    for (let index = 0; index < 100; index++) {
      const tx = new Transaction().require('process')
      tx.lose(log, { from: 0, to: 0 }, 1, 'qos0')
      await store.write(tx)
    }
    t.equal(store.stats.lost.qos0, 100)
    t.ok(store.ledger.end >= 1 && store.ledger.end < 10)
  })

  t.test(
    'documents: the last write of a batch wins, pending writes are seen, lists are in order',
    async t => {
      await using store = await open()
      const tx = new Transaction().require('process')
      for (const key of ['b', 'a', 'a/2', 'c']) tx.put('s', key, Buffer.from(key))
      tx.put('s', 'c', Buffer.from('second'))
      tx.put('other', 'x', Buffer.from('x'))
      tx.delete('s', 'b')
      const written = store.write(tx)
      t.equal((await store.get('s', 'c'))?.toString(), 'second')
      t.equal(await store.get('s', 'b'), undefined)
      await written
      t.equal((await store.get('s', 'c'))?.toString(), 'second')
      const keys = async (prefix?: string) =>
        (await Array.fromAsync(store.list('s', prefix))).map(item => item.key)
      t.same(await keys(), ['a', 'a/2', 'c'])
      t.same(await keys('a/'), ['a/2'])
      const late = new Transaction()
      late.put('s', 'd', Buffer.from('class memory'))
      store.commit(late)
      t.same(await keys(), ['a', 'a/2', 'c', 'd'], 'a list commits what is pending first')
    },
  )

  t.test('checkpoints are kept per log and consumer', async t => {
    await using store = await open()
    const log = store.log('a', wide)
    await append(store, 'a', numbers(10))
    t.same(await store.checkpoint(log, 'new'), { low: 0, done: [], retries: [] })
    const state = {
      low: 3,
      done: [
        [5, 6],
        [8, 9],
      ] as const,
      retries: [{ offset: 7, attempts: 2, nextAt: 99 }],
    }
    const tx = new Transaction().require('process')
    tx.checkpoint(log, 'c', state)
    const written = store.write(tx)
    t.same(await store.checkpoint(log, 'c'), state, 'pending')
    await written
    t.same(await store.checkpoint(log, 'c'), state)
    t.same(await store.checkpoint(log, 'd'), { low: 0, done: [], retries: [] })
  })

  t.test('timers: earliest first, moved and cancelled, by kind', async t => {
    await using store = await open()
    const tx = new Transaction().require('process')
    for (const [id, dueAt] of [
      ['late', 300],
      ['early', 100],
      ['middle', 200],
    ] as const)
      tx.schedule({ id, dueAt, kind: 'will', payload: `{"id":"${id}"}` })
    tx.schedule({ id: 'other', dueAt: 1, kind: 'schedule', payload: '{}' })
    await store.write(tx)
    const due = async (now: number, limit = 10) =>
      (await store.timersDue('will', now, limit)).map(timer => timer.id)
    t.same(await due(200), ['early', 'middle'])
    t.same(await due(200, 1), ['early'])
    t.equal(await store.nextTimerAt('will'), 100)
    const change = new Transaction().require('process')
    change.schedule({ id: 'early', dueAt: 250, kind: 'will', payload: '{}' })
    change.cancel('middle')
    const changed = store.write(change)
    t.same(await due(250), ['early'], 'pending changes are seen')
    await changed
    t.same(await due(1_000), ['early', 'late'])
    t.equal(await store.nextTimerAt('none'), undefined)
  })

  t.test('a removed log is gone with its records; its name begins a new incarnation', async t => {
    await using store = await open()
    const log = store.log('a', wide)
    await append(store, 'a', numbers(10))
    const tx = new Transaction().require('process')
    tx.checkpoint(log, 'c', { low: 4, done: [], retries: [] })
    await store.write(tx)
    await store.removeLog(log)
    t.equal(store.findLog('a'), undefined)
    const late = new Transaction().require('process')
    late.append(log, record('late'))
    await store.write(late)
    t.equal(store.stats.lost.purged, 1, 'an append that came too late is counted')
    const anew = store.log('a', wide)
    t.ok(anew.incarnation > log.incarnation)
    t.equal(anew.end, 0)
    t.same((await store.checkpoint(anew, 'c')).low, 0)
    t.same((await anew.read(0, all)).records, [])
  })

  t.test('bounds: a transaction above them is refused before anything of it is applied', async t => {
    await using store = await open()
    const log = store.log('a', wide)
    const heavy = new Transaction()
    heavy.append(log, { ...record(''), payload: Buffer.alloc(17 * 1024 * 1024) })
    t.throws(() => store.commit(heavy), { code: 'FESCUE_TRANSACTION_TOO_LARGE' })
    const many = new Transaction()
    for (let index = 0; index < 65_537; index++) many.delete('s', 'k')
    t.throws(() => store.commit(many), { code: 'FESCUE_TRANSACTION_TOO_LARGE' })
    t.equal(log.bytes, 0)
    t.throws(() => store.log('not a name', wide), { code: 'FESCUE_NAME_INVALID' })
  })

  t.test('a transaction of many megabytes is one batch', async t => {
    await using store = await open({ tailCacheMaxBytes: 0 })
    const log = store.log('a', wide)
    const tx = new Transaction().require('power')
    for (let index = 0; index < 60; index++)
      tx.append(log, { ...record(''), payload: Buffer.alloc(200_000, index) })
    await store.write(tx)
    const found = await log.read(59, all)
    t.equal(found.records[0]?.payload[0], 59)
  })

  t.test('a new epoch takes over the records that it is told were never received', async t => {
    await using store = await open()
    const log = store.log('a', wide)
    await append(store, 'a', numbers(10))
    const old = store.epoch
    const given = await store.startEpoch('rollback', new Map([[log, 6]]))
    t.equal(store.epoch, given)
    t.match(store.epochs.at(-1), {
      reason: 'rollback',
      predecessor: old,
      lastKnown: { [`a.${log.incarnation}`]: 10 },
    })
    await append(store, 'a', ['10'])
    const { records } = await log.read(0, all)
    t.same(
      records.map(item => item.epoch === old),
      [true, true, true, true, true, true, false, false, false, false, false],
    )
  })

  t.test('after the end everything fails with FESCUE_STORE_CLOSED', async t => {
    const store = await open()
    const log = store.log('a', wide)
    await store[Symbol.asyncDispose]()
    await store[Symbol.asyncDispose]()
    const tx = new Transaction()
    tx.append(log, record('x'))
    await t.rejects(store.write(tx), { code: 'FESCUE_STORE_CLOSED' })
    await t.rejects(store.get('s', 'k'), { code: 'FESCUE_STORE_CLOSED' })
    await t.rejects(store.sync(), { code: 'FESCUE_STORE_CLOSED' })
    t.equal(store.accepting, false)
  })

  if (again === undefined) return

  t.test('everything is there again after a restart', async t => {
    let store = await open({ tailCacheMaxBytes: 0 })
    try {
      const log = store.log('a', { maxBytes: 1e6, maxRecords: 200, overflow: 'drop-oldest' })
      await append(store, 'a', numbers(500))
      const tx = new Transaction()
      tx.truncate(log, 400)
      tx.put('s', 'k', Buffer.from('v'))
      tx.checkpoint(log, 'c', { low: 410, done: [[420, 430]], retries: [] })
      tx.schedule({ id: 'i', dueAt: 5, kind: 'will', payload: '{}' })
      store.commit(tx)
      const gone = store.log('gone', wide)
      await store.removeLog(gone)
      const [{ epoch }, { records, bytes, oldestAt }] = [store, log]
      store = await again(store)
      const found = store.findLog('a')
      t.match(found, {
        head: 400,
        end: 500,
        synced: 500,
        records,
        bytes,
        oldestAt,
        incarnation: log.incarnation,
      })
      t.equal(store.epoch, epoch)
      t.same(await payloads(store, 'a'), numbers(100, 400))
      t.equal((await store.get('s', 'k'))?.toString(), 'v')
      t.same((await store.checkpoint(found ?? log, 'c')).done, [[420, 430]])
      t.equal(await store.nextTimerAt('will'), 5)
      t.ok(store.log('gone', wide).incarnation > gone.incarnation)
    } finally {
      await store[Symbol.asyncDispose]()
    }
  })
}
