/** What comes down from a cloud's broker: admitted before it is acknowledged (D1), once where MQTT can, and never sent back. */
import t from 'tap'
import type { Message } from '#router/message.ts'
import { toRecord } from '#router/message.ts'
import type { CommitLog } from '#store/commit-log.ts'
import { Transaction } from '#store/transaction.ts'
import { waitingMax } from '#uplink/downlink.ts'
import { accepted, acknowledge, type FakeBroker, type Peer, startFakeBroker } from '../fakes/mqtt-broker.ts'
import {
  cloudAt,
  type Device,
  mqttUplink,
  range,
  recordsOf,
  routeAll,
  startDevice,
  temporary,
  until,
} from '../fakes/uplink-rig.ts'
import { collect, startMosquitto } from '../harness/brokers.ts'
import { need } from '../harness/need.ts'

t.setTimeout(100_000)

const skip = need('mosquitto')
const downlink = [{ filter: 'commands/#', prefix: 'cloud/' }]

/** The messages that came down, as they were published here. */
function arrivals(device: Device): Message[] {
  const seen: Message[] = []
  device.router.onDeliver(message => {
    if (message.origin.kind === 'downlink') seen.push(message)
  })
  return seen
}

function subscribed(broker: FakeBroker): Promise<void> {
  return until(() => broker.peers.some(peer => subscriptions.has(peer)))
}
const subscriptions = new WeakSet<Peer>()

interface Downstream {
  readonly broker: FakeBroker
  /** Packet ids that the device acknowledged, with their reasons. */
  readonly acknowledged: [id: number, reason: number][]
}

/** A broker that grants subscriptions and notes PUBACKs; its session is there from the second connection on. */
async function downstream(granted = 1, keepsSession = true): Promise<Downstream> {
  const acknowledged: [number, number][] = []
  let connections = 0
  const broker = await startFakeBroker({
    connack: connect =>
      ({ ...accepted(connect), sessionPresent: keepsSession && connections++ > 0 }) as never,
    onPacket(packet, peer) {
      if (packet.cmd === 'subscribe') {
        peer.send({
          cmd: 'suback',
          messageId: packet.messageId ?? 0,
          granted: packet.subscriptions.map(() => granted),
        })
        subscriptions.add(peer)
      }
      if (packet.cmd === 'puback') acknowledged.push([packet.messageId ?? 0, packet.reasonCode ?? 0])
    },
  })
  return { broker, acknowledged }
}

function push(peer: Peer | undefined, id: number, payload: string, more: object = {}): void {
  peer?.send({
    cmd: 'publish',
    topic: 'commands/a',
    payload,
    qos: 1,
    dup: false,
    retain: false,
    messageId: id,
    ...more,
  })
}

t.test('what was sent while the device was away arrives, in order, once', { skip }, async t => {
  await using dir = await temporary()
  await using broker = await startMosquitto({ folder: dir.path })
  await using cloud = await collect(broker.url, 'reports/#')
  const start = () =>
    startDevice({
      folder: `${dir.path}/device`,
      url: '',
      uplinks: [mqttUplink(broker.url, { downlink })],
      routes: [routeAll({ filter: 'reports/#' })],
    })
  {
    await using device = await start()
    await until(() => device.uplink.status().links[0]?.link.state === 'connected')
  }
  for (const n of range(0, 200))
    await cloud.client.publishAsync('commands/x', JSON.stringify({ n }), { qos: 1 })
  await broker.stop()
  await broker.start()
  await using device = await start()
  const seen = arrivals(device)
  await until(() => seen.length >= 200)
  await until(() => cloud.client.connected)
  await cloud.client.publishAsync('commands/last', '{"n":200}', { qos: 1 })
  await until(() => seen.length >= 201)
  t.same(
    seen.map(({ payload }) => JSON.parse(payload.toString()).n),
    range(0, 201),
  )
  t.match(seen[0], {
    topic: 'cloud/commands/x',
    qos: 1,
    hops: 1,
    origin: { kind: 'downlink', name: 'cloud' },
  })
})

t.test('what came down does not go up to the same uplink, but may to another', { skip }, async t => {
  await using dir = await temporary()
  await using broker = await startMosquitto({ folder: dir.path })
  await using http = await cloudAt(`${dir.path}/cloud`)
  await using cloud = await collect(broker.url, '#')
  const uplinks = [
    mqttUplink(broker.url, { downlink: [{ filter: 'commands/#', prefix: '' }] }),
    { name: 'other', connector: 'http' as const, url: http.url, token: undefined, tls: {} },
  ]
  const routes = [routeAll(), routeAll({ name: 'other', to: 'other' })]
  await using device = await startDevice({ folder: `${dir.path}/device`, url: '', uplinks, routes })
  const seen = arrivals(device)
  await until(() => device.uplink.status().links.every(({ link }) => link.state === 'connected'))
  await cloud.client.publishAsync('commands/a', '1', { qos: 1 })
  await until(() => seen.length === 1)
  await device.publish('commands/own', 'sent up, and the broker does not send it back')
  await device.publish('end', 1)
  await device.drained()
  await until(() => cloud.packets.some(({ topic }) => topic === 'end'))
  t.same(
    cloud.packets.map(({ topic }) => topic),
    ['commands/a', 'commands/own', 'end'],
    'the cloud has its own message once',
  )
  t.equal(seen.length, 1)
  t.same(
    (await recordsOf(http)).map(({ subject }) => subject),
    ['commands/a', 'commands/own', 'end'],
  )
})

t.test('PUBACK waits for the commit, and for room, and holds up nothing else (D1)', async t => {
  await using dir = await temporary()
  const { broker, acknowledged } = await downstream()
  await using _ = broker
  await using device = await startDevice({
    folder: `${dir.path}/device`,
    url: '',
    uplinks: [mqttUplink(broker.url, { downlink })],
    routes: [routeAll({ filter: 'up' })],
  })
  const log: CommitLog = device.store.log('inbox.full', { maxBytes: 1_000, overflow: 'block' })
  device.router.subscribe({ id: 'function:full', log, record: message => toRecord(message) }, 'cloud/#', 1)
  await subscribed(broker)
  const peer = broker.peers.at(-1)
  push(peer, 1, 'x'.repeat(600))
  push(peer, 2, 'y'.repeat(600))
  push(peer, 3, 'z')
  await until(() => acknowledged.length === 1)
  t.equal(log.synced, 1, 'committed before it was acknowledged')
  for (const n of range(0, 3)) {
    await device.publish('up', { n })
    await device.drained()
  }
  t.same(acknowledged, [[1, 0]], 'the second waits for room, the third behind it')
  const tx = new Transaction().require('process')
  tx.truncate(log, 1)
  await device.store.write(tx)
  await until(() => acknowledged.length === 3)
  t.same(acknowledged, [
    [1, 0],
    [2, 0],
    [3, 0],
  ])
})

t.test('more messages than may wait close the connection; the broker sends them again (D6)', async t => {
  await using dir = await temporary()
  const { broker, acknowledged } = await downstream()
  await using _ = broker
  const uplinks = [mqttUplink(broker.url, { downlink })]
  const routes = [routeAll({ filter: 'up' })]
  await using device = await startDevice({ folder: `${dir.path}/device`, url: '', uplinks, routes })
  const log: CommitLog = device.store.log('inbox.full', { maxBytes: 200, overflow: 'block' })
  device.router.subscribe({ id: 'function:full', log, record: message => toRecord(message) }, 'cloud/#', 1)
  await subscribed(broker)
  await device.publish('cloud/first', 'y'.repeat(120))
  for (const id of range(1, waitingMax + 1)) push(broker.peers[0], id, 'x')
  // Its PUBACK comes behind them.
  await device.publish('up', 1)
  await device.drained()
  t.equal(broker.peers.length, 1, 'as many as may wait')
  push(broker.peers[0], waitingMax + 1, 'one too many')
  await until(() => broker.peers.length === 2)
  t.same(acknowledged, [])
})

t.test(
  'a message that is sent again because our PUBACK was lost counts once, over a restart too',
  async t => {
    await using dir = await temporary()
    const { broker, acknowledged } = await downstream()
    await using _ = broker
    const start = () =>
      startDevice({
        folder: `${dir.path}/device`,
        url: '',
        uplinks: [mqttUplink(broker.url, { downlink })],
        routes: [],
      })
    {
      await using device = await start()
      const seen = arrivals(device)
      await subscribed(broker)
      push(broker.peers[0], 7, 'on')
      await until(() => acknowledged.length === 1)
      broker.peers[0]?.hangUp()
      await until(() => broker.peers.length === 2)
      push(broker.peers[1], 7, 'on', { dup: true })
      await until(() => acknowledged.length === 2)
      push(broker.peers[1], 7, 'off', { dup: true })
      await until(() => acknowledged.length === 3)
      push(broker.peers[1], 7, 'off')
      await until(() => acknowledged.length === 4)
      t.same(
        seen.map(({ payload }) => String(payload)),
        ['on', 'off', 'off'],
        'another content, or no DUP: another message',
      )
    }
    await using device = await start()
    const seen = arrivals(device)
    await until(() => broker.peers.length === 3)
    push(broker.peers[2], 7, 'off', { dup: true })
    await until(() => acknowledged.length === 5)
    t.same(seen, [])
  },
)

t.test('a broker that lost the session numbers anew: nothing is taken for a repetition', async t => {
  await using dir = await temporary()
  const { broker, acknowledged } = await downstream(1, false)
  await using _ = broker
  const uplinks = [mqttUplink(broker.url, { downlink })]
  await using device = await startDevice({ folder: `${dir.path}/device`, url: '', uplinks, routes: [] })
  const seen = arrivals(device)
  for (const connection of [0, 1]) {
    await until(() => broker.peers[connection] !== undefined && subscriptions.has(broker.peers[connection]))
    push(broker.peers[connection], 7, 'on', { dup: connection === 1 })
    await until(() => acknowledged.length === connection + 1)
    broker.peers[connection]?.hangUp()
  }
  t.equal(seen.length, 2)
})

t.test('hops, expiry and content type come along; what goes round in circles is not taken', async t => {
  await using dir = await temporary()
  const { broker, acknowledged } = await downstream()
  await using _ = broker
  const uplinks = [mqttUplink(broker.url, { downlink })]
  await using device = await startDevice({ folder: `${dir.path}/device`, url: '', uplinks, routes: [] })
  const seen = arrivals(device)
  await subscribed(broker)
  const properties = (hops: string) => ({
    properties: {
      userProperties: { 'fescue-hops': hops },
      messageExpiryInterval: 60,
      contentType: 'text/plain',
    },
  })
  push(broker.peers[0], 1, 'a', properties('3'))
  push(broker.peers[0], 2, 'b', properties('15'))
  push(broker.peers[0], 3, 'c', { topic: `commands/${'x'.repeat(65_530 - 9)}` })
  await until(() => acknowledged.length === 3)
  t.match(seen, [{ hops: 4, contentType: 'text/plain', expiresAt: Number }])
  t.same(
    acknowledged.sort(([a], [b]) => a - b),
    [
      [1, 0],
      [2, 0x83],
      [3, 0x90],
    ],
  )
})

t.test('a subscription that the broker refuses is a named state', async t => {
  await using dir = await temporary()
  const { broker } = await downstream(0x87)
  await using _ = broker
  const uplinks = [mqttUplink(broker.url, { downlink })]
  await using device = await startDevice({ folder: `${dir.path}/device`, url: '', uplinks, routes: [] })
  const link = () => device.uplink.status().links[0]?.link
  await until(() => link()?.state === 'refused')
  t.match(link(), { reason: 'the broker refuses the subscription commands/#: Not authorized (0x87)' })
})

t.test('a filter that left the config is unsubscribed, and only a new one is subscribed', async t => {
  await using dir = await temporary()
  const packets: unknown[] = []
  let connections = 0
  await using broker = await startFakeBroker({
    connack: connect => ({ ...accepted(connect), sessionPresent: connections++ > 0 }) as never,
    onPacket(packet, peer) {
      const { messageId = 0 } = packet
      if (packet.cmd === 'subscribe') {
        packets.push(packet.subscriptions.map(({ topic, qos, nl, rh }) => ({ topic, qos, nl, rh })))
        peer.send({ cmd: 'suback', messageId, granted: packet.subscriptions.map(() => 1) })
      } else if (packet.cmd === 'unsubscribe') {
        packets.push(packet.unsubscriptions)
        peer.send({ cmd: 'unsuback', messageId, granted: [0] } as never)
      }
    },
    onPublish: acknowledge,
  })
  const connected = async (...filters: string[]) => {
    const uplinks = [mqttUplink(broker.url, { downlink: filters.map(filter => ({ filter, prefix: '' })) })]
    await using device = await startDevice({ folder: `${dir.path}/device`, url: '', uplinks, routes: [] })
    await until(() => device.uplink.status().links[0]?.link.state === 'connected')
  }
  await connected('a', 'b')
  await connected('a', 'b')
  await connected('b', 'c')
  const options = { qos: 1, nl: true, rh: 1 }
  t.same(packets, [
    [
      { topic: 'a', ...options },
      { topic: 'b', ...options },
    ],
    ['a'],
    [{ topic: 'c', ...options }],
  ])
  t.match(broker.peers[0]?.connect, { clean: false, properties: { sessionExpiryInterval: 604_800 } })
})

t.test('a changed config replaces the link: its session goes on, up and down', async t => {
  await using dir = await temporary()
  const { broker, acknowledged } = await downstream()
  await using _ = broker
  const routes = [routeAll({ filter: 'up' })]
  const uplinks = [mqttUplink(broker.url, { downlink })]
  await using device = await startDevice({ folder: `${dir.path}/device`, url: '', uplinks, routes })
  const seen = arrivals(device)
  await subscribed(broker)
  push(broker.peers[0], 7, 'on')
  await until(() => acknowledged.length === 1)
  await device.uplink.update({
    uplinks: [mqttUplink(broker.url, { downlink, topic: 'new/{topic}' })],
    routes,
  })
  await until(() => broker.peers.length === 2)
  push(broker.peers[1], 7, 'on', { dup: true })
  push(broker.peers[1], 8, 'off')
  await until(() => acknowledged.length === 3)
  t.same(
    seen.map(({ payload }) => String(payload)),
    ['on', 'off'],
  )
  await device.publish('up', 1)
  await device.drained()
  t.match(broker.peers[1]?.published, [{ topic: 'new/up' }])
})
