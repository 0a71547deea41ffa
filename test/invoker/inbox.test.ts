import t from 'tap'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import { Inbox } from '#invoker/inbox.ts'
import { doneRangesMax } from '#store/checkpoint.ts'
import { openStore } from '#store/open.ts'
import type { LogRecord } from '#store/record.ts'
import { Transaction } from '#store/transaction.ts'

/** An inbox with `count` records whose topics go round `topics`. */
async function inboxWith(count: number, topics: readonly string[] = ['a'], maxBytes = 10_000_000) {
  const store = await openStore({
    folder: undefined,
    clock: systemClock,
    logger: silentLogger,
    freeDiskMinBytes: 0,
  })
  const log = store.log('inbox.f', { maxBytes, overflow: 'drop-oldest' })
  for (let i = 0; i < count; i += 100) {
    const tx = new Transaction()
    for (let k = i; k < Math.min(count, i + 100); k++)
      tx.append(log, {
        time: k,
        topic: topics[k % topics.length] ?? '',
        payload: Buffer.from(String(k)),
        qos: 1,
      })
    await store.write(tx)
  }
  return { store, log, inbox: new Inbox(log, await store.checkpoint(log, 'function')) }
}

const keyOf = (record: LogRecord) => record.topic
const offsets = (records: readonly LogRecord[]) => records.map(({ offset }) => offset)

t.test('records come in order, each once, until rewind', async t => {
  const { store, inbox } = await inboxWith(10)
  await using _ = store
  const take = (maxRecords: number) => offsets(inbox.take({ maxRecords, keyOf, now: 0 }).records)
  t.same(take(4), [0, 1, 2, 3])
  t.same(take(4), [4, 5, 6, 7])
  inbox.checkpoint.complete(0)
  inbox.checkpoint.complete(2)
  inbox.rewind()
  t.same(take(4), [1, 3, 4, 5])
  t.ok(inbox.pending)
  t.same(take(10), [6, 7, 8, 9])
  t.notOk(inbox.pending)
})

t.test('a key in retry is passed over until it is due; others go on', async t => {
  const { store, inbox } = await inboxWith(6, ['a', 'b'])
  await using _ = store
  const take = (now: number) => offsets(inbox.take({ maxRecords: 10, keyOf, now }).records)
  const [first] = inbox.take({ maxRecords: 1, keyOf, now: 0 }).records
  if (first === undefined) throw new Error('no record')
  inbox.retryLater(first, 'a', 1, 1_000)
  inbox.rewind()
  t.same(take(999), [1, 3, 5])
  t.equal(inbox.nextRetryAt(999), 1_000)
  for (const offset of [1, 3, 5]) inbox.checkpoint.complete(offset)
  inbox.rewindIfDue(1_000)
  t.same(take(1_000), [0, 2, 4])
  t.equal(inbox.attemptsOf(0), 1)
})

t.test('a record dropped by the log is skipped, its retry forgotten', async t => {
  const { store, inbox, log } = await inboxWith(10)
  await using _ = store
  const [first] = inbox.take({ maxRecords: 1, keyOf, now: 0 }).records
  if (first === undefined) throw new Error('no record')
  inbox.retryLater(first, 'a', 1, 1_000)
  const tx = new Transaction()
  tx.truncate(log, 5)
  await store.write(tx)
  inbox.rewind()
  t.same(offsets(inbox.take({ maxRecords: 10, keyOf, now: 0 }).records), [5, 6, 7, 8, 9])
  t.equal(inbox.nextRetryAt(0), undefined)
})

t.test('a key whose record in retry was dropped by the log waits no longer', async t => {
  const { store, inbox, log } = await inboxWith(10, ['a', 'b'])
  await using _ = store
  const take = (now: number) => offsets(inbox.take({ maxRecords: 100, keyOf, now }).records)
  const [first] = inbox.take({ maxRecords: 1, keyOf, now: 0 }).records
  if (first === undefined) throw new Error('no record')
  inbox.retryLater(first, 'a', 1, 1_000)
  inbox.rewind()
  const others = take(0)
  t.same(others, [1, 3, 5, 7, 9])
  for (const offset of others) inbox.checkpoint.complete(offset)
  const tx = new Transaction()
  tx.truncate(log, 1)
  await store.write(tx)
  t.same(take(0), [2, 4, 6, 8])
})

t.test('the set of done ranges is bounded, and full once every second record is done', async t => {
  const { store, inbox } = await inboxWith(2 * doneRangesMax + 10, ['a', 'b'])
  await using _ = store
  for (let i = 1; i < 2 * doneRangesMax; i += 2) inbox.checkpoint.complete(i)
  t.ok(inbox.checkpoint.full)
  inbox.checkpoint.complete(0)
  t.notOk(inbox.checkpoint.full, 'the lowest open record makes room')
})
