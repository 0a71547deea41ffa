import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { PersistentSession } from '#broker/persistent-session.ts'
import { linkBacklogMaxBytes, sessionInflight } from '#broker/session.ts'
import { packetIdOf, packetIds } from '#broker/session-pump.ts'
import type { Qos } from '#store/record.ts'
import { Transaction } from '#store/transaction.ts'
import { ManualClock } from '../fakes/manual-clock.ts'
import { SessionClient } from '../fakes/session-client.ts'
import { openParts, type PartsOptions, type SessionParts } from '../fakes/session-parts.ts'

const folder = () => mkdtempDisposable(join(tmpdir(), 'fescue-pump-'))
const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `${from + i}`)

async function open(options: PartsOptions = {}, qos: Qos = 1) {
  const parts = await openParts(options)
  const { session, present } = await parts.sessions.open('c')
  if (!present) await session.subscribe([{ filter: 't/#', qos }])
  return { ...parts, session }
}

/** Appends to the session's log without the router, many at a time. */
function append(parts: SessionParts, session: PersistentSession, payloads: string[], qos: Qos = 1) {
  const tx = new Transaction()
  for (const payload of payloads)
    session.enqueue(tx, { time: 1, topic: 't', payload: Buffer.from(payload), qos })
  return parts.store.write(tx)
}

t.test('messages leave in offset order, at most sessionInflight unacknowledged', async t => {
  await using parts = await open()
  const { session } = parts
  await append(parts, session, numbers(0, 50))
  const client = new SessionClient()
  session.attach(client)
  await client.until(sessionInflight)
  await parts.store.sync()
  t.same(client.payloads, numbers(0, sessionInflight))
  t.equal(session.acknowledge(1, 'puback'), 'done')
  t.equal(session.acknowledge(3, 'puback'), 'done')
  await client.until(sessionInflight + 2)
  t.equal(session.queued, 48)
  for (let id = 1; id <= 50; id++) {
    if (id !== 1 && id !== 3) session.acknowledge(id, 'puback')
    await client.until(Math.min(50, sessionInflight + id))
  }
  t.same(client.payloads, numbers(0, 50))
  t.equal(session.queued, 0)
  t.same(
    client.received.map(packet => packet.packetId),
    numbers(1, 51).map(Number),
  )
})

t.test('what is published while the client is connected follows what was queued', async t => {
  await using parts = await open()
  const { session } = parts
  await append(parts, session, numbers(0, 5))
  const client = new SessionClient()
  session.attach(client)
  for (const payload of numbers(5, 15)) await parts.publish('t/1', payload, { retain: true })
  await client.until(15)
  t.same(client.payloads, numbers(0, 15))
  t.notOk(
    client.received.some(packet => packet.type === 'publish' && (packet.retain || packet.dup)),
    'no retain flag on a live message [MQTT-3.3.1-9], no DUP on the first sending',
  )
})

t.test('a retained message that is enqueued for one client keeps its flag', async t => {
  await using parts = await open()
  const { session } = parts
  const tx = new Transaction()
  const record = { time: 1, topic: 't/x', payload: Buffer.from('r'), qos: 1 as const, retain: true }
  t.equal(session.enqueue(tx, record), true)
  t.equal(session.enqueue(tx, { ...record, qos: 0 }), false)
  await parts.store.write(tx)
  const client = new SessionClient()
  session.attach(client)
  await client.until(1)
  t.match(client.received, [{ retain: true, payload: 'r' }])
})

t.test(
  'after a kill a message that was sent comes again with its id and DUP, one that was not without',
  async t => {
    await using dir = await folder()
    const before = await open({ folder: dir.path, limits: { inflightMax: 3 } })
    await append(before, before.session, numbers(0, 10))
    const first = new SessionClient()
    before.session.attach(first)
    await first.until(3)
    before.session.acknowledge(2, 'puback')
    await first.until(4)
    await before.store.sync()
    await before.abandon()

    await using after = await open({ folder: dir.path })
    await append(after, after.session, numbers(10, 12))
    const second = new SessionClient()
    after.session.attach(second)
    await second.until(11)
    t.same(second.payloads, ['0', ...numbers(2, 12)])
    t.match(second.received[0], { packetId: 1, dup: true })
    t.match(second.received[1], { packetId: 3, dup: true })
    t.match(second.received.slice(9), [{ dup: false }, { dup: false }], 'appended after the kill')
  },
)

t.test('after a disconnect the mark of what was sent is exact', async t => {
  await using dir = await folder()
  {
    await using before = await open({ folder: dir.path, limits: { inflightMax: 2 } })
    await append(before, before.session, numbers(0, 4))
    const client = new SessionClient()
    before.session.attach(client)
    await client.until(2)
    before.session.detach(client)
  }
  await using after = await open({ folder: dir.path })
  const client = new SessionClient()
  after.session.attach(client)
  await client.until(4)
  t.match(client.received, [{ dup: true }, { dup: true }, { dup: false }, { dup: false }])
})

t.test('a connection that takes over is served in place of the older one', async t => {
  await using parts = await open()
  const { session } = parts
  await append(parts, session, numbers(0, 2))
  const older = new SessionClient()
  session.attach(older)
  await older.until(2)
  const newer = new SessionClient()
  session.attach(newer)
  session.detach(older)
  await newer.until(2)
  await parts.publish('t', '2')
  await newer.until(3)
  t.match(newer.received, [{ dup: true }, { dup: true }, { dup: false }])
  t.equal(older.received.length, 2)
})

t.test('QoS 2: PUBREL goes again for what was received, PUBLISH with DUP for the rest, in order', async t => {
  await using dir = await folder()
  const before = await open({ folder: dir.path }, 2)
  for (const payload of numbers(0, 4)) await before.publish('t', payload, { qos: 2 })
  const first = new SessionClient()
  before.session.attach(first)
  await first.until(4)
  await first.pubrec(before.session, 2)
  await first.pubrec(before.session, 3)
  t.equal(before.session.acknowledge(3, 'pubcomp'), 'done')
  await before.store.sync()
  await before.abandon()

  await using after = await open({ folder: dir.path }, 2)
  const second = new SessionClient()
  after.session.attach(second)
  await second.until(3)
  t.match(second.received, [
    { type: 'publish', packetId: 1, dup: true, qos: 2, payload: '0' },
    { type: 'pubrel', packetId: 2 },
    { type: 'publish', packetId: 4, dup: true, qos: 2, payload: '3' },
  ])
  t.equal(after.session.acknowledge(2, 'pubcomp'), 'done')
  await second.pubrec(after.session, 1)
  await second.pubrec(after.session, 1)
  t.equal(after.session.acknowledge(1, 'pubcomp'), 'done')
  await second.pubrec(after.session, 4)
  t.equal(after.session.acknowledge(4, 'pubcomp'), 'done')
  t.equal(after.session.queued, 0)
})

t.test('PUBREL waits until the PUBREC is safe against a loss of power', async t => {
  await using parts = await open({}, 2)
  const { session, store } = parts
  await append(parts, session, ['x'], 2)
  const client = new SessionClient()
  session.attach(client)
  await client.until(1)
  const { syncs } = store.stats
  await client.pubrec(session, 1)
  t.ok(store.stats.syncs > syncs)
})

t.test('acknowledgements that do not fit their flow change nothing', async t => {
  await using parts = await open({}, 2)
  const { session } = parts
  await append(parts, session, ['1'], 1)
  await append(parts, session, ['2'], 2)
  const client = new SessionClient()
  session.attach(client)
  await client.until(2)
  t.equal(session.acknowledge(1, 'pubcomp'), 'wrong')
  t.equal(session.acknowledge(2, 'puback'), 'wrong')
  t.equal(session.acknowledge(2, 'pubcomp'), 'wrong', 'no PUBREC yet')
  await t.rejects(client.pubrec(session, 1), { code: 'FESCUE_PACKET_MALFORMED' })
  t.equal(session.acknowledge(9, 'puback'), 'unknown')
  await client.pubrec(session, 9)
  t.equal(session.queued, 2)
})

t.test('a burst of acknowledgements is one batch, not one each', async t => {
  await using parts = await open()
  const { session, store } = parts
  await append(parts, session, numbers(0, sessionInflight))
  const client = new SessionClient()
  session.attach(client)
  await client.until(sessionInflight)
  await store.sync()
  const { transactions } = store.stats
  for (let id = 1; id <= sessionInflight; id++) session.acknowledge(id, 'puback')
  await store.sync()
  t.ok(
    store.stats.transactions - transactions <= 3,
    `${store.stats.transactions - transactions} transactions`,
  )
  t.equal(session.log.records, 0, 'the log is truncated')
})

t.test('the pump pauses while the connection is behind', async t => {
  await using parts = await open()
  const { session, store } = parts
  const client = new SessionClient()
  client.backlogBytes = linkBacklogMaxBytes + 1
  session.attach(client)
  await append(parts, session, ['x'])
  await store.sync()
  t.equal(client.received.length, 0)
  client.drain()
  await client.until(1)
})

t.test('an expired message is skipped, counted and in the ledger', async t => {
  const clock = new ManualClock()
  await using parts = await open({ clock })
  const { session, store, sessions } = parts
  await parts.publish('t', 'old', { expiresAt: clock.now() + 1_000 })
  await parts.publish('t', 'old too', { expiresAt: clock.now() + 1_000 })
  await parts.publish('t', 'new', { expiresAt: clock.now() + 10_000 })
  clock.advance(1_000)
  const client = new SessionClient()
  session.attach(client)
  await client.until(1)
  t.same(client.payloads, ['new'])
  t.equal(sessions.expiredRecords, 2)
  session.acknowledge(3, 'puback')
  await store.sync()
  await store.sync()
  t.match(await parts.ledger(), [{ reason: 'expired', records: 2, from: 0, to: 2 }])
  t.equal(session.queued, 0)
})

t.test('what overflowed is passed over; QoS 2 flows that had begun end with PUBREL', async t => {
  const log = { maxBytes: 30_000, overflow: 'drop-oldest' as const }
  await using parts = await open({ limits: { log, inflightMax: 3 } }, 2)
  const { session } = parts
  const big = (n: number) => `${n}`.padEnd(1_000)
  for (let i = 0; i < 5; i++) await parts.publish('t', big(i), { qos: 2 })
  const first = new SessionClient()
  session.attach(first)
  await first.until(3)
  await first.pubrec(session, 2)
  session.detach(first)
  for (let i = 5; i < 100; i++) await parts.publish('t', big(i), { qos: 2 })
  t.ok(session.log.head > 5)

  const second = new SessionClient()
  session.attach(second)
  await second.until(3)
  t.match(
    second.received,
    [1, 2, 3].map(packetId => ({ type: 'pubrel', packetId })),
  )
  for (const id of [1, 2, 3]) t.equal(session.acknowledge(id, 'pubcomp'), 'done')
  await second.until(6)
  const head = session.log.head
  t.match(
    second.received.slice(3),
    [0, 1, 2].map(i => ({ packetId: packetIdOf(head + i), dup: false })),
  )
})

t.test('an id in flight is not given to another message (65,535 later)', async t => {
  const log = { maxBytes: 1 << 30, overflow: 'drop-oldest' as const }
  await using parts = await open({ limits: { log } })
  const { session, store } = parts
  const client = new SessionClient()
  session.attach(client)
  let acknowledged = 1
  for (let sent = 0; sent < packetIds + 5; ) {
    const count = Math.min(5_000, packetIds + 5 - sent)
    await append(parts, session, numbers(sent, sent + count))
    sent += count
    const reachable = Math.min(sent, packetIds)
    while (client.received.length < reachable) {
      await client.until(Math.min(reachable, acknowledged + sessionInflight - 1))
      while (acknowledged < client.received.length) {
        acknowledged += 1
        session.acknowledge(acknowledged, 'puback')
      }
    }
  }
  await store.sync()
  t.equal(client.received.length, packetIds, 'stopped before the id of the first')
  session.acknowledge(1, 'puback')
  await client.until(packetIds + 1)
  t.match(client.received.at(packetIds), { packetId: 1, payload: `${packetIds}` })
})

t.test('a QoS 2 message of class process waits for its fsync (D9)', async t => {
  await using parts = await open({ durability: [{ filter: '#', class: 'process' }] }, 2)
  const { session, store } = parts
  const client = new SessionClient()
  session.attach(client)
  await parts.publish('t', 'one', { qos: 1 })
  await client.until(1)
  await parts.publish('t', 'two', { qos: 2 })
  await client.until(2)
  t.ok(session.log.synced >= 2)
  t.ok(store.stats.syncs > 0)
})

t.test('a large backlog drains from disk in order', async t => {
  await using dir = await folder()
  {
    await using before = await open({ folder: dir.path, store: { tailCacheMaxBytes: 64 * 1024 } })
    for (let i = 0; i < 10; i++) {
      const payloads = numbers(i * 500, (i + 1) * 500).map(n => n.padEnd(100))
      await append(before, before.session, payloads)
    }
  }
  await using after = await open({ folder: dir.path, store: { tailCacheMaxBytes: 64 * 1024 } })
  const client = new SessionClient()
  after.session.attach(client)
  for (let id = 1; id <= 5_000; id++) {
    await client.until(id)
    after.session.acknowledge(id, 'puback')
  }
  t.same(
    client.payloads.map(payload => payload.trim()),
    numbers(0, 5_000),
  )
})

t.test('a discarded session sends nothing more', async t => {
  await using parts = await open()
  const { session } = parts
  const client = new SessionClient()
  session.attach(client)
  await parts.publish('t', '1')
  await client.until(1)
  await parts.sessions.discard('c')
  await parts.publish('t', '2')
  t.equal(session.acknowledge(1, 'puback'), 'unknown')
  t.equal(
    session.enqueue(new Transaction(), { time: 1, topic: 't', payload: Buffer.from('3'), qos: 1 }),
    false,
  )
  await client.pubrec(session, 1)
  session.detach(client)
  await parts.store.sync()
  t.same(client.payloads, ['1'])
  t.equal(parts.sessions.size, 0)
})
