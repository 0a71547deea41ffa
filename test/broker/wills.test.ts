import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { willGraceMs, willPayloadMaxBytes, willsMax } from '#broker/wills.ts'
import { ManualClock } from '../fakes/manual-clock.ts'
import { openParts, type SessionParts } from '../fakes/session-parts.ts'

const folder = () => mkdtempDisposable(join(tmpdir(), 'fescue-wills-'))
const will = (text: string, topic = 'w') => ({
  topic,
  payload: Buffer.from(text),
  qos: 1 as const,
  retain: false,
})

/** Subscribes a session to everything and gives what it has been sent. */
async function watch(parts: SessionParts) {
  const { session } = await parts.sessions.open('watcher')
  await session.subscribe([{ filter: '#', qos: 1 }])
  return async () => {
    await parts.store.sync()
    const seen: string[] = []
    for await (const { record } of session.unacknowledged()) seen.push(`${record.origin} ${record.payload}`)
    return seen
  }
}

t.test('a lost client has its will published once, one that says DISCONNECT has not', async t => {
  await using parts = await openParts()
  const { wills } = parts
  const seen = await watch(parts)
  const lost = await wills.store({ clientId: 'lost' }, will('gone'))
  const polite = await wills.store({ clientId: 'polite' }, will('never'))
  t.equal(wills.size, 2)
  await wills.forget(polite)
  await wills.publish(polite)
  await Promise.all([wills.publish(lost), wills.publish(lost)])
  await wills.forget(lost)
  t.same(await seen(), ['will:lost gone'])
  t.equal(wills.size, 0)
})

t.test(
  'a client that takes over from itself leaves its older will published and its newer one stored',
  async t => {
    await using parts = await openParts()
    const { wills } = parts
    const seen = await watch(parts)
    const older = await wills.store({ clientId: 'c' }, will('older'))
    const newer = await wills.store({ clientId: 'c' }, will('newer'))
    await wills.returned('c')
    await wills.publish(older)
    t.same(await seen(), ['will:c older'])
    t.equal(wills.find('c'), newer)
    t.match(await wills.read('c'), { payload: Buffer.from('newer') })
  },
)

t.test('a retained will becomes the retained value of its topic', async t => {
  await using parts = await openParts()
  const handle = await parts.wills.store({ clientId: 'c' }, { ...will('offline', 'status/c'), retain: true })
  await parts.wills.publish(handle)
  const values = []
  for await (const record of parts.router.retained.match('status/+')) values.push(`${record.payload}`)
  t.same(values, ['offline'])
})

t.test('after a kill wills wait for the grace; those of clients that came back are void', async t => {
  await using dir = await folder()
  const before = await openParts({ folder: dir.path })
  for (const clientId of ['away', 'back'])
    await before.wills.store({ clientId, username: 'u' }, will(clientId))
  await before.abandon()

  const clock = new ManualClock()
  {
    await using between = await openParts({ folder: dir.path, clock })
    const seen = await watch(between)
    t.equal(between.wills.size, 2)
    t.same(between.wills.find('away')?.owner, { clientId: 'away', username: 'u' })
    await between.wills.returned('back')
    const again = await between.wills.store({ clientId: 'back' }, will('again'))
    clock.advance(willGraceMs - 1)
    t.same(await seen(), [])
    const published = new Promise<void>(resolve => between.router.onDeliver(() => resolve()))
    clock.advance(1)
    await published
    t.same(await seen(), ['will:away away'])
    t.equal(between.wills.find('back'), again)
  }
  await using after = await openParts({ folder: dir.path, clock })
  t.equal(after.wills.size, 1, 'a stop of the daemon keeps the wills of connected clients')
})

t.test('publishing and deletion are one batch (D2)', async t => {
  await using dir = await folder()
  const before = await openParts({ folder: dir.path })
  const seen = await watch(before)
  const handle = await before.wills.store({ clientId: 'c' }, will('x'))
  const { transactions } = before.store.stats
  await before.wills.publish(handle)
  t.equal(before.store.stats.transactions - transactions, 1)
  t.same(await seen(), ['will:c x'])
  await before.abandon()
  await using after = await openParts({ folder: dir.path })
  t.equal(after.wills.size, 0)
})

t.test('a will is never held back: a full log with overflow "block" loses it, counted', async t => {
  await using parts = await openParts()
  const { store, router, wills } = parts
  const log = store.log('inbox.full', { maxBytes: 200, overflow: 'block' })
  const record = () => ({ time: 1, topic: 'w', payload: Buffer.alloc(150), qos: 1 as const })
  router.subscribe({ id: 'function:full', log, record }, 'w', 2)
  await parts.publish('w', 'fills')
  const { end } = log
  await wills.publish(await wills.store({ clientId: 'c' }, will('x')))
  t.equal(log.end, end)
  await store.sync()
  t.match(await parts.ledger(), [{ log: 'inbox.full', records: 1, reason: 'overflow' }])
})

t.test('a will whose owner lost the right is not published', async t => {
  const asked: string[] = []
  const mayPublish = (owner: { username?: string }, topic: string) => {
    asked.push(`${owner.username} ${topic}`)
    return false
  }
  await using parts = await openParts({ wills: { mayPublish } })
  const seen = await watch(parts)
  await parts.wills.publish(await parts.wills.store({ clientId: 'c', username: 'u' }, will('x', 'secret')))
  t.same(asked, ['u secret'])
  t.same(await seen(), [])
  t.equal(parts.wills.size, 0)
})

t.test('wills have bounds (D6)', async t => {
  await using parts = await openParts({ wills: { willsMax: 2 } })
  const { wills } = parts
  t.equal(willsMax, 10_000)
  const big = { ...will(''), payload: Buffer.alloc(willPayloadMaxBytes + 1) }
  await t.rejects(wills.store({ clientId: 'big' }, big), { code: 'FESCUE_PACKET_TOO_LARGE' })
  const first = await wills.store({ clientId: '1' }, { ...big, payload: Buffer.alloc(willPayloadMaxBytes) })
  await wills.store({ clientId: '2' }, will('2'))
  await t.rejects(wills.store({ clientId: '3' }, will('3')), { code: 'FESCUE_STORE_FULL' })
  await wills.forget(first)
  await wills.store({ clientId: '3' }, will('3'))
  t.equal(wills.size, 2)
})
