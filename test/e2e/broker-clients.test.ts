/** Session-present, takeover, clean sessions, wills, users, drain: what a client may rely on around its connection. */
import t from 'tap'
import { ManualClock } from '../fakes/manual-clock.ts'
import { BrokerRig, payloadsOf } from '../harness/broker-rig.ts'
import { connectPacket, RawClient } from '../harness/raw-client.ts'

const device = { clientId: 'device', clean: false }
const will = { topic: 'gone', payload: Buffer.from('device'), qos: 1 as const, retain: false }

t.test('session-present is right, also for a session without subscriptions [MQTT-3.2.2-2]', async t => {
  await using rig = await BrokerRig.start()
  const present = async (fields: object) => {
    await using client = await RawClient.connect(rig.port, fields)
    return client.sessionPresent
  }
  t.equal(await present(device), false, 'new')
  t.equal(await present(device), true, 'stored, without subscriptions')
  t.equal(await present({ ...device, clean: true }), false, 'clean session 1 discards it [MQTT-3.2.2-1]')
  t.equal(await present(device), false, 'and it is gone')
})

t.test('a second connection with the same id takes over [MQTT-3.1.4-2]', async t => {
  await using rig = await BrokerRig.start()
  for (const clean of [true, false]) {
    const fields = { clientId: `taken ${clean}`, clean }
    await using first = await RawClient.connect(rig.port, fields)
    await first.subscribe(['t', 1])
    await using second = await RawClient.connect(rig.port, fields)
    await first.closed
    t.equal(second.sessionPresent, !clean)
    await second.subscribe(['t', 1])
    await using publisher = await RawClient.connect(rig.port)
    publisher.publish('t', 'x', 1, 1)
    t.same(await second.messages(1), ['x'])
    t.equal(rig.broker.clients.count, 2)
  }
})

t.test('twenty connections with one id at once: one stays, and it works', async t => {
  await using rig = await BrokerRig.start()
  for (const clean of [true, false]) {
    const clients = await Promise.all(Array.from({ length: 20 }, () => RawClient.open(rig.port)))
    for (const client of clients) client.send(connectPacket({ clientId: 'same', clean }))
    const isOpen = () => clients.filter(client => !client.isClosed)
    while (isOpen().length > 1) await new Promise(resolve => setImmediate(resolve))
    const [last] = isOpen()
    if (last === undefined) throw new Error('none stayed')
    await last.subscribe(['own', 1])
    last.publish('own', 'x', 1, 1)
    t.same(await last.messages(1), ['x'])
    t.equal(rig.broker.clients.count, 1)
    await last.cut()
  }
})

t.test('a lost client’s will is published, a polite one’s is not', async t => {
  await using rig = await BrokerRig.start()
  const log = rig.inbox('gone')
  await using watcher = await RawClient.connect(rig.port)
  await watcher.subscribe(['gone', 1])
  await using polite = await RawClient.connect(rig.port, { will, clientId: 'polite' })
  polite.send({ cmd: 'disconnect' })
  await polite.closed
  await using lost = await RawClient.connect(rig.port, { will, clientId: 'lost' })
  await lost.cut()
  t.same(await watcher.messages(1), ['device'])
  await using malformed = await RawClient.connect(rig.port, { will, clientId: 'malformed' })
  malformed.bytes(0xf0, 0)
  await watcher.messages(2)
  t.same(await payloadsOf(log), ['device', 'device'])
})

t.test('takeover publishes the older will and keeps the newer', async t => {
  await using rig = await BrokerRig.start()
  await using watcher = await RawClient.connect(rig.port)
  await watcher.subscribe(['gone', 1])
  const older = { ...will, payload: Buffer.from('older') }
  const newer = { ...will, payload: Buffer.from('newer') }
  await using _first = await RawClient.connect(rig.port, { ...device, will: older })
  await using second = await RawClient.connect(rig.port, { ...device, will: newer })
  t.same(await watcher.messages(1), ['older'])
  await second.cut()
  t.same(await watcher.messages(2), ['older', 'newer'])
})

t.test('a retained will is retained', async t => {
  await using rig = await BrokerRig.start()
  await using lost = await RawClient.connect(rig.port, { will: { ...will, retain: true } })
  await using watcher = await RawClient.connect(rig.port)
  await watcher.subscribe(['gone', 1])
  await lost.cut()
  await watcher.messages(1)
  await using late = await RawClient.connect(rig.port)
  await late.subscribe(['gone', 1])
  t.same(await late.messages(1), ['device'])
})

t.test('a stop keeps wills for the next start instead of publishing them', async t => {
  const rig = await BrokerRig.start()
  const log = rig.inbox('gone')
  await using client = await RawClient.connect(rig.port, { will })
  await rig.broker.drain(1_000)
  await client.closed
  await rig.store.sync()
  t.same(await payloadsOf(log), [])
  await rig[Symbol.asyncDispose]()
})

t.test('D7: drain acknowledges what was read, then closes; disposing twice is fine', async t => {
  const rig = await BrokerRig.start()
  rig.inbox('#')
  await using client = await RawClient.connect(rig.port)
  const release = rig.holdWrites()
  for (let i = 1; i <= 10; i++) client.publish('a', 'x', 1, i)
  await client.roundTrip()
  const drained = rig.broker.drain(5_000)
  t.equal(client.packets.filter(packet => packet.cmd === 'puback').length, 0)
  release()
  await drained
  await client.closed
  t.equal(client.packets.filter(packet => packet.cmd === 'puback').length, 10)
  await t.rejects(RawClient.open(rig.port), { code: 'ECONNREFUSED' })
  await rig.broker[Symbol.asyncDispose]()
  await rig[Symbol.asyncDispose]()
})

t.test('drain gives up after its grace', async t => {
  const rig = await BrokerRig.start()
  rig.inbox('#')
  await using client = await RawClient.connect(rig.port)
  const release = rig.holdWrites()
  client.publish('a', 'x', 1, 1)
  await client.roundTrip()
  await rig.broker.drain(50)
  t.pass('resolved')
  release()
  await rig[Symbol.asyncDispose]()
})

const users = {
  size: 1,
  names: new Set(['pump']),
  async verify(username: string, password: Buffer) {
    return this.names.has(username) && password.toString() === 'secret' ? username : undefined
  },
  async has(username: string) {
    return this.names.has(username)
  },
}

t.test('with users everyone must be one; without any everyone may connect', async t => {
  await using rig = await BrokerRig.start({ users })
  for (const fields of [{}, { username: 'pump', password: Buffer.from('wrong') }, { username: 'other' }]) {
    await using client = await RawClient.open(rig.port)
    client.send(connectPacket(fields))
    t.equal((await client.next('connack')).returnCode, 4)
    await client.closed
  }
  t.equal(rig.broker.clients.count, 0)
  await using client = await RawClient.connect(rig.port, {
    username: 'pump',
    password: Buffer.from('secret'),
  })
  t.match([...rig.broker.clients.list()], [{ username: 'pump' }])
  rig.broker.disconnectUser('pump')
  await client.closed
})

t.test('a refused client leaves no trace: no session, no will, no takeover', async t => {
  await using rig = await BrokerRig.start({ users })
  const log = rig.inbox('gone')
  const right = { username: 'pump', password: Buffer.from('secret') }
  await using good = await RawClient.connect(rig.port, { ...device, ...right })
  await using bad = await RawClient.open(rig.port)
  bad.send(connectPacket({ ...device, will, username: 'pump', password: Buffer.from('wrong') }))
  await bad.closed
  await using other = await RawClient.open(rig.port)
  other.send(connectPacket({ clientId: 'unknown', clean: false, will }))
  await other.closed
  await good.roundTrip()
  t.equal(rig.broker.sessions.size, 1)
  t.same(await payloadsOf(log), [])
})

t.test('clients of a removed user, and anonymous ones once there is a user, are cut within 5 s', async t => {
  const clock = new ManualClock()
  const known = new Set<string>()
  const changing = {
    get size() {
      return known.size
    },
    verify: async (name: string) => (known.has(name) ? name : undefined),
    has: async (name: string) => known.has(name),
  }
  await using rig = await BrokerRig.start({ clock, users: changing })
  await using anonymous = await RawClient.connect(rig.port)
  clock.advance(5_000)
  await anonymous.roundTrip()
  known.add('pump')
  await using pump = await RawClient.connect(rig.port, { username: 'pump', password: Buffer.from('x') })
  clock.advance(5_000)
  await anonymous.closed
  await pump.roundTrip()
  known.delete('pump')
  known.add('other')
  clock.advance(5_000)
  await pump.closed
  t.equal(rig.broker.clients.count, 0)
})

t.test('a store that has no room for one more session answers CONNACK 3', async t => {
  await using rig = await BrokerRig.start({ broker: { sessionLimits: { sessionsMax: 1 } } })
  await using _first = await RawClient.connect(rig.port, { clientId: 'one', clean: false })
  await using second = await RawClient.open(rig.port)
  second.send(connectPacket({ clientId: 'two', clean: false }))
  t.equal((await second.next('connack')).returnCode, 3)
  await second.closed
  await using clean = await RawClient.connect(rig.port, { clientId: 'two' })
  await clean.roundTrip()
})
