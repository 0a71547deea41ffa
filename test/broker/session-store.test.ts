import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { subscriptionsMax } from '#broker/session.ts'
import { sessionKey } from '#broker/session-documents.ts'
import { defaultSessionLimits } from '#broker/session-store.ts'
import type { Qos } from '#store/record.ts'
import { Transaction } from '#store/transaction.ts'
import { ManualClock } from '../fakes/manual-clock.ts'
import { SessionClient } from '../fakes/session-client.ts'
import { openParts, type SessionParts } from '../fakes/session-parts.ts'

const folder = () => mkdtempDisposable(join(tmpdir(), 'fescue-sessions-'))
const dayMs = 86_400_000

async function subscribed(parts: SessionParts, clientId: string, ...filters: [string, Qos][]) {
  const { session } = await parts.sessions.open(clientId)
  await session.subscribe(filters.map(([filter, qos]) => ({ filter, qos })))
  return session
}

/** Resolves once the session is not there any more. */
async function gone(parts: SessionParts, clientId: string): Promise<void> {
  while (parts.sessions.find(clientId) !== undefined) await nextTurn()
  await parts.store.sync()
}

/** What is queued for the session, in order. */
async function queue(parts: SessionParts, clientId: string): Promise<string[]> {
  const session = parts.sessions.find(clientId)
  await session?.load()
  const texts: string[] = []
  for await (const { record } of session?.unacknowledged() ?? []) {
    texts.push(`${record.topic}=${record.payload}@${record.qos}`)
  }
  return texts
}

t.test('a session and its subscriptions are durable when they are answered for', async t => {
  await using dir = await folder()
  const before = await openParts({ folder: dir.path })
  const { session, present } = await before.sessions.open('sensor')
  t.equal(present, false)
  await session.subscribe([
    { filter: 'a/+', qos: 1 },
    { filter: 'b', qos: 0 },
  ])
  await before.publish('a/1', 'x')
  await before.abandon()

  await using after = await openParts({ folder: dir.path })
  const again = await after.sessions.open('sensor')
  t.equal(again.present, true)
  t.same(again.session.subscriptions, [
    { filter: 'a/+', qos: 1 },
    { filter: 'b', qos: 0 },
  ])
  await after.publish('a/2', 'y')
  t.same(await queue(after, 'sensor'), ['a/1=x@1', 'a/2=y@1'])
})

t.test('a subscription of QoS 0 queues nothing, after a restart either', async t => {
  await using dir = await folder()
  {
    await using before = await openParts({ folder: dir.path })
    await subscribed(before, 'c', ['a', 0])
    await before.publish('a', '1')
    t.same(await queue(before, 'c'), [])
  }
  await using after = await openParts({ folder: dir.path })
  await after.publish('a', '2')
  t.same(await queue(after, 'c'), [])
  t.same(after.sessions.find('c')?.subscriptions, [{ filter: 'a', qos: 0 }])
})

t.test('overlapping filters queue a message once, with the highest QoS that matches', async t => {
  await using parts = await openParts()
  const session = await subscribed(parts, 'c', ['a/#', 1])
  await session.subscribe([{ filter: 'a/b', qos: 2 }])
  await parts.publish('a/b', '1', { qos: 2 })
  await parts.publish('a/c', '2', { qos: 2 })
  t.same(await queue(parts, 'c'), ['a/b=1@2', 'a/c=2@1'])
})

t.test('the wide filter still queues when a narrow one is added with QoS 0 or removed', async t => {
  await using parts = await openParts()
  const session = await subscribed(parts, 'c', ['a/#', 1], ['a/b', 0])
  await parts.publish('a/b', '1')
  await session.unsubscribe(['a/b'])
  await parts.publish('a/b', '2')
  await session.subscribe([{ filter: 'a/b', qos: 1 }])
  await session.unsubscribe(['a/#', 'unknown'])
  await parts.publish('a/b', '3')
  await parts.publish('a/c', '4')
  t.same(await queue(parts, 'c'), ['a/b=1@1', 'a/b=2@1', 'a/b=3@1'])
})

t.test('subscribing a filter again changes its QoS, down to 0 too', async t => {
  await using parts = await openParts()
  const session = await subscribed(parts, 'c', ['a', 2])
  await parts.publish('a', '1', { qos: 2 })
  await session.subscribe([{ filter: 'a', qos: 1 }])
  await parts.publish('a', '2', { qos: 2 })
  await session.subscribe([{ filter: 'a', qos: 0 }])
  await parts.publish('a', '3', { qos: 2 })
  t.same(await queue(parts, 'c'), ['a=1@2', 'a=2@1'])
})

t.test('QoS 2 to a subscription of QoS 1 is queued as QoS 1, QoS 0 not at all', async t => {
  await using parts = await openParts()
  await subscribed(parts, 'c', ['a', 1])
  await parts.publish('a', '2', { qos: 2 })
  await parts.publish('a', '0', { qos: 0 })
  t.same(await queue(parts, 'c'), ['a=2@1'])
})

t.test('empty topic levels match [MQTT-4.7.1-3]', async t => {
  await using parts = await openParts()
  await subscribed(parts, 'c', ['a/b/+', 1], ['/+', 1])
  await parts.publish('a/b/', '1')
  await parts.publish('/', '2')
  t.same(await queue(parts, 'c'), ['a/b/=1@1', '/=2@1'])
})

t.test('a client id may hold any character and share a prefix with another', async t => {
  await using dir = await folder()
  const ids = ['a', 'a/b', 'ab', '../é\u{1f600}', 'x'.repeat(300)]
  {
    await using before = await openParts({ folder: dir.path })
    for (const id of ids) await subscribed(before, id, [`t/${id.length}`, 1])
    await before.sessions.discard('a')
  }
  await using after = await openParts({ folder: dir.path })
  t.same([...after.sessions.list()].map(({ clientId }) => clientId).sort(), ids.slice(1).sort())
  for (const { subscriptions } of after.sessions.list()) t.equal(subscriptions.length, 1)
})

t.test('discard removes the session with its log and says so in the ledger', async t => {
  await using dir = await folder()
  {
    await using before = await openParts({ folder: dir.path })
    const session = await subscribed(before, 'c', ['a', 1])
    await before.publish('a', '1')
    await before.publish('a', '2')
    await before.sessions.discard('c')
    t.equal(before.sessions.find('c'), undefined)
    await before.publish('a', '3')
    await session.subscribe([{ filter: 'late', qos: 1 }])
    const [entry] = await before.ledger()
    t.match(entry, { reason: 'session', records: 2, log: `session.${sessionKey('c')}` })
  }
  await using after = await openParts({ folder: dir.path })
  t.equal(after.sessions.size, 0)
  t.equal(after.store.findLog(`session.${sessionKey('c')}`), undefined)
  t.equal((await after.sessions.open('c')).present, false)
  t.same(await queue(after, 'c'), [])
})

t.test('what is asked for one client is done in order', async t => {
  await using parts = await openParts()
  await subscribed(parts, 'c', ['a', 1])
  await parts.publish('a', '1')
  const [, opened] = await Promise.all([
    parts.sessions.discard('c'),
    parts.sessions.open('c'),
    parts.sessions.discard('c'),
  ])
  t.equal(opened.present, false)
  t.equal(parts.sessions.size, 0)
})

t.test('the log of a session whose discard was cut short goes at the next start', async t => {
  await using dir = await folder()
  const before = await openParts({ folder: dir.path })
  const session = await subscribed(before, 'c', ['a', 1])
  const tx = new Transaction()
  session.discard(tx)
  await before.store.write(tx)
  await before.abandon()
  await using after = await openParts({ folder: dir.path })
  t.equal(after.store.findLog(session.log.name), undefined)
})

t.test('a session is discarded when its client has been away for the expiry', async t => {
  const clock = new ManualClock()
  await using parts = await openParts({ clock })
  for (const id of ['away', 'back', 'online']) await subscribed(parts, id, ['a', 1])
  const link = new SessionClient()
  for (const id of ['away', 'back', 'online']) parts.sessions.find(id)?.attach(link)
  for (const id of ['away', 'back']) parts.sessions.find(id)?.detach(link)
  await parts.publish('a', '1')
  clock.advance(6 * dayMs)
  await parts.sessions.open('back')
  clock.advance(dayMs - 1)
  t.ok(parts.sessions.find('away'))
  clock.advance(1)
  await gone(parts, 'away')
  t.same(
    [...parts.sessions.list()].map(({ clientId }) => clientId),
    ['back', 'online'],
  )
  t.match(await parts.ledger(), [{ reason: 'session', records: 1 }])
})

t.test('a CONNECT that was not finished does not keep a session for ever', async t => {
  const clock = new ManualClock()
  await using parts = await openParts({ clock })
  await parts.sessions.open('c')
  clock.advance(7 * dayMs - 1)
  t.ok(parts.sessions.find('c'))
  clock.advance(1)
  await gone(parts, 'c')
})

t.test('time away counts over a restart, but not what a clock that was never set says', async t => {
  await using dir = await folder()
  const clock = new ManualClock()
  {
    await using before = await openParts({ folder: dir.path, clock })
    for (const id of ['away', 'unset']) {
      if (id === 'unset') clock.jumpTo(1_000)
      const session = await subscribed(before, id, ['a', 1])
      const link = new SessionClient()
      session.attach(link)
      session.detach(link)
    }
    await before.store.sync()
  }
  clock.jumpTo(Date.UTC(2030, 0, 8))
  await using after = await openParts({ folder: dir.path, clock })
  await gone(after, 'away')
  t.ok(after.sessions.find('unset'))
})

t.test('sessions and subscriptions have a bound (D6)', async t => {
  await using parts = await openParts({ limits: { sessionsMax: 2 } })
  t.equal(defaultSessionLimits.sessionsMax, 10_000)
  const session = await subscribed(parts, '1', ['a', 1])
  await parts.sessions.open('2')
  await t.rejects(parts.sessions.open('3'), { code: 'FESCUE_STORE_FULL' })
  t.equal((await parts.sessions.open('2')).present, true)
  await parts.sessions.discard('2')
  await parts.sessions.open('3')

  const many = Array.from({ length: subscriptionsMax }, (_, i) => ({ filter: `f/${i}`, qos: 1 as const }))
  await t.rejects(session.subscribe(many), { code: 'FESCUE_STORE_FULL' })
  t.equal(session.subscriptions.length, 1)
  await session.subscribe(many.slice(1))
  await session.subscribe(many.slice(1))
  t.equal(session.subscriptions.length, subscriptionsMax)
})

t.test('a full queue drops its oldest messages into the ledger (D4)', async t => {
  const log = { maxBytes: 20_000, overflow: 'drop-oldest' as const }
  await using parts = await openParts({ limits: { log } })
  await subscribed(parts, 'c', ['a', 1])
  for (let i = 0; i < 100; i++) await parts.publish('a', `${i}`.padEnd(1_000))
  await parts.store.sync()
  const left = await queue(parts, 'c')
  t.ok(left.length >= 10 && left.length < 25, `${left.length} left`)
  t.match(left.at(-1), /^a=99 /)
  const lost = (await parts.ledger()).filter(({ reason }) => reason === 'overflow')
  t.equal(lost.reduce((sum, { records }) => sum + records, 0) + left.length, 100)
})
