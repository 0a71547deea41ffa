/** What stands before aedes: sizes, malformed packets, the order of packets around CONNECT, bounds of connections. */
import { once } from 'node:events'
import net from 'node:net'
import mqtt from 'mqtt-packet'
import t from 'tap'
import { connectMaxBytes } from '#broker/connection.ts'
import { guardMaxBytes } from '#broker/packet-flow.ts'
import { ManualClock } from '../fakes/manual-clock.ts'
import { BrokerRig, payloadsOf } from '../harness/broker-rig.ts'
import { connectPacket, publishPacket, RawClient } from '../harness/raw-client.ts'

t.test('a packet above 16 KiB is refused before CONNACK, from its header', async t => {
  await using rig = await BrokerRig.start()
  await using client = await RawClient.open(rig.port)
  client.bytes(0x10, 0x81, 0x80, 0x01)
  await client.closed
  t.match(rig.lines, [{ fields: { code: 'FESCUE_PACKET_TOO_LARGE' } }])
  await using fits = await RawClient.open(rig.port)
  fits.send(connectPacket({ username: 'u', password: Buffer.alloc(connectMaxBytes - 100) }))
  t.equal((await fits.next('connack')).returnCode, 0)
})

t.test('a packet above maxPacketBytes is refused after CONNACK, one below is taken', async t => {
  await using rig = await BrokerRig.start({ limits: { maxPacketBytes: 20_000 } })
  const log = rig.inbox('#')
  await using client = await RawClient.connect(rig.port)
  client.publish('a', Buffer.alloc(19_900, 65), 1, 1)
  await client.next('puback')
  t.equal((await payloadsOf(log))[0]?.length, 19_900)
  client.publish('a', Buffer.alloc(20_001), 1, 2)
  await client.closed
  t.match(rig.lines, [{ fields: { code: 'FESCUE_PACKET_TOO_LARGE' } }])
})

t.test('D6: many sockets that announce much before CONNECT cost next to nothing', async t => {
  await using rig = await BrokerRig.start()
  const before = process.memoryUsage().rss
  for (let i = 0; i < 20; i++) {
    const socket = net.connect(rig.port, '127.0.0.1')
    await once(socket, 'connect')
    socket.on('error', () => {})
    socket.write(Buffer.of(0x10, 0xff, 0xff, 0xff, 0x7f))
    socket.write(Buffer.alloc(1024 * 1024))
    await once(socket, 'close')
  }
  t.ok(process.memoryUsage().rss - before < 64 * 1024 * 1024)
})

const connected = [...mqtt.generate(connectPacket({ clientId: 'c' }))]
const malformed: [name: string, bytes: number[]][] = [
  ['first packet is no CONNECT', [0xc0, 0]],
  // Its second byte would announce 69 more, which never come.
  ['a browser at the wrong port', [...Buffer.from('GET / HTTP/1.1')]],
  ['HTTP', [...Buffer.from(`GET / HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\n\r\n${'x'.repeat(80)}`)]],
  ['second CONNECT', [...connected, ...connected]],
  ['packet type 0', [...connected, 0x00, 0]],
  ['packet type 15', [...connected, 0xf0, 0]],
  ['CONNACK from a client', [...connected, 0x20, 2, 0, 0]],
  ['SUBACK from a client', [...connected, 0x90, 3, 0, 1, 0]],
  ['PUBLISH with QoS 3', [...connected, 0x36, 5, 0, 1, 97, 0, 1]],
  ['PUBLISH with DUP and QoS 0', [...connected, 0x38, 3, 0, 1, 97]],
  ['PUBLISH with packet id 0', [...connected, 0x32, 5, 0, 1, 97, 0, 0]],
  ['PUBLISH with an empty topic', [...connected, 0x30, 2, 0, 0]],
  ['PUBLISH to a wildcard', [...connected, 0x30, 5, 0, 3, 97, 47, 35]],
  ['PUBLISH whose topic passes its end', [...connected, 0x30, 3, 0, 9, 97]],
  ['PUBLISH with U+0000 in its topic', [...connected, 0x30, 5, 0, 3, 97, 0, 98]],
  ['PUBLISH with a surrogate in its topic', [...connected, 0x30, 5, 0, 3, 0xed, 0xa0, 0x80]],
  ['PUBACK with packet id 0', [...connected, 0x40, 2, 0, 0]],
  ['PUBACK of three bytes', [...connected, 0x40, 3, 0, 1, 0]],
  ['PUBACK of one byte', [...connected, 0x40, 1, 0]],
  ['PUBREL without its flags', [...connected, 0x60, 2, 0, 1]],
  ['SUBSCRIBE without its flags', [...connected, 0x80, 6, 0, 1, 0, 1, 97, 0]],
  ['SUBSCRIBE without a filter', [...connected, 0x82, 2, 0, 1]],
  ['SUBSCRIBE with packet id 0', [...connected, 0x82, 6, 0, 0, 0, 1, 97, 0]],
  ['SUBSCRIBE with QoS 3', [...connected, 0x82, 6, 0, 1, 0, 1, 97, 3]],
  ['SUBSCRIBE to a#', [...connected, 0x82, 7, 0, 1, 0, 2, 97, 35, 0]],
  ['SUBSCRIBE without the QoS of its filter', [...connected, 0x82, 5, 0, 1, 0, 1, 97]],
  ['UNSUBSCRIBE without a filter', [...connected, 0xa2, 2, 0, 1]],
  ['PINGREQ with a body', [...connected, 0xc0, 1, 0]],
  ['DISCONNECT with flags', [...connected, 0xe1, 0]],
  ['remaining length of five bytes', [...connected, 0x30, 0xff, 0xff, 0xff, 0xff, 1]],
]

t.test('malformed packets end their connection with one clear line and nobody else’s', async t => {
  await using rig = await BrokerRig.start()
  await using other = await RawClient.connect(rig.port)
  for (const [name, bytes] of malformed) {
    const lines = rig.lines.length
    await using client = await RawClient.open(rig.port)
    client.bytes(...bytes)
    await client.closed
    if (lines < 30) t.match(rig.lines.slice(lines), [{ fields: { code: 'FESCUE_PACKET_MALFORMED' } }], name)
    t.notOk(
      client.packets.some(packet => packet.cmd === 'suback' || packet.cmd === 'puback'),
      name,
    )
  }
  await other.roundTrip()
  t.equal(rig.broker.clients.count, 1)
})

t.test('CONNECTs that are well formed but not served get a return code', async t => {
  await using rig = await BrokerRig.start()
  const body = (level: number, flags: number, rest: number[]) => [
    0,
    4,
    77,
    81,
    84,
    84,
    level,
    flags,
    0,
    0,
    ...rest,
  ]
  const connect = (bytes: number[]) => [0x10, bytes.length, ...bytes]
  const cases: [name: string, returnCode: number, bytes: number[]][] = [
    ['MQTT 5', 1, connect(body(5, 2, [0, 0, 0]))],
    ['level 6', 1, connect(body(6, 2, [0, 0]))],
    ['an empty client id without clean session', 2, connect(body(4, 0, [0, 0]))],
    ['a will to $SYS', 5, connect(body(4, 6, [0, 1, 97, 0, 6, 36, 83, 89, 83, 47, 97, 0, 0]))],
  ]
  for (const [name, returnCode, bytes] of cases) {
    await using client = await RawClient.open(rig.port)
    client.bytes(...bytes)
    t.equal((await client.next('connack')).returnCode, returnCode, name)
    await client.closed
  }
})

t.test('an empty client id with clean session gets a name of its own', async t => {
  await using rig = await BrokerRig.start()
  await using _one = await RawClient.connect(rig.port, { clientId: '' })
  await using _two = await RawClient.connect(rig.port, { clientId: '' })
  const ids = [...rig.broker.clients.list()].map(({ id }) => id)
  t.equal(new Set(ids).size, 2)
  t.ok(ids.every(id => /^auto-[0-9a-f]{16}$/.test(id)))
})

t.test(
  'everything in one read: CONNECT, SUBSCRIBE, PUBLISH, DISCONNECT take effect in that order',
  async t => {
    await using rig = await BrokerRig.start()
    const log = rig.inbox('#')
    for (const clean of [true, false]) {
      await using client = await RawClient.open(rig.port)
      client.send(
        connectPacket({ clean, clientId: `all ${clean}` }),
        { cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'all', qos: 0 }] },
        publishPacket('all', 'live'),
        publishPacket('all', 'kept', 1, 2),
        { cmd: 'pingreq' },
        { cmd: 'disconnect' },
      )
      client.socket.end()
      await client.closed
      t.same(client.kinds().slice(0, 2), ['connack', 'suback 1'])
    }
    t.same(await payloadsOf(log), ['live', 'kept', 'live', 'kept'])
  },
)

t.test('a half-closed client still gets its acknowledgements', async _t => {
  await using rig = await BrokerRig.start()
  rig.inbox('#')
  await using client = await RawClient.connect(rig.port)
  const release = rig.holdWrites()
  client.publish('a', 'x', 1, 1)
  client.socket.end()
  await new Promise(resolve => setImmediate(resolve))
  release()
  await client.next('puback')
  await client.closed
})

t.test('packets before CONNACK wait, bounded, and the socket is paused above', async t => {
  await using rig = await BrokerRig.start({
    users: {
      size: 1,
      verify: () => verified.promise,
      has: async () => true,
    },
  })
  const verified = Promise.withResolvers<string | undefined>()
  await using client = await RawClient.open(rig.port)
  client.send(connectPacket({ username: 'u', password: Buffer.from('p') }))
  const chunk = Buffer.concat(
    Array.from({ length: 1_000 }, () => mqtt.generate(publishPacket('a', Buffer.alloc(1_000)))),
  )
  let sent = 0
  for (let i = 0; i < 40; i++) client.socket.write(chunk, () => (sent += chunk.length))
  const total = 40 * chunk.length
  for (let still = 0, last = -1; still < 5; still = sent === last ? still + 1 : 0) {
    last = sent
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  t.ok(sent < total, `${sent} of ${total} bytes left the client, ${guardMaxBytes} may wait at the broker`)
  verified.resolve('u')
  await client.next('connack')
  client.send({ cmd: 'pingreq' })
  await client.next('pingresp')
  t.equal(sent, total, 'and all was taken afterwards')
})

t.test('a silent socket is closed after connectTimeoutMs', async t => {
  const clock = new ManualClock()
  await using rig = await BrokerRig.start({ clock })
  await using client = await RawClient.open(rig.port)
  await rig.broker.clients.count
  while (clock.alarms === 0) await new Promise(resolve => setImmediate(resolve))
  clock.advance(4_999)
  await new Promise(resolve => setImmediate(resolve))
  t.notOk(client.isClosed)
  clock.advance(1)
  await client.closed
})

t.test(
  'a CONNECT that comes byte by byte, or less than announced, is cut after connectTimeoutMs',
  async t => {
    const clock = new ManualClock()
    await using rig = await BrokerRig.start({ clock })
    const whole = mqtt.generate(connectPacket({ clientId: 'slow' }))
    const announcesMore = Buffer.from(whole)
    announcesMore[1] = 127
    await using trickles = await RawClient.open(rig.port)
    await using waits = await RawClient.open(rig.port)
    waits.socket.write(announcesMore)
    while (clock.alarms < 2) await new Promise(resolve => setImmediate(resolve))
    for (const byte of whole.subarray(0, 9)) {
      trickles.bytes(byte)
      await new Promise(resolve => setImmediate(resolve))
      clock.advance(500)
    }
    t.notOk(trickles.isClosed)
    clock.advance(500)
    await Promise.all([trickles.closed, waits.closed])
    const line = { fields: { code: 'FESCUE_PACKET_MALFORMED' }, message: 'no CONNECT within 5000 ms' }
    t.match(rig.lines, [line, line])
  },
)

t.test('a CONNECT that announces less than it has is refused', async t => {
  await using rig = await BrokerRig.start()
  const bytes = Buffer.from(mqtt.generate(connectPacket({ clientId: 'less' })))
  bytes[1] = (bytes[1] ?? 0) - 3
  await using client = await RawClient.open(rig.port)
  client.bytes(...bytes)
  await client.closed
  t.match(rig.lines, [{ fields: { code: 'FESCUE_PACKET_MALFORMED' } }])
})

t.test(
  'D6: half-open connections beyond their number are turned away with a line, and leave room again',
  async t => {
    await using rig = await BrokerRig.start({ limits: { unauthenticatedMax: 50, connectTimeoutMs: 1_000 } })
    await using healthy = await RawClient.connect(rig.port)
    const sockets = await Promise.all(Array.from({ length: 120 }, () => RawClient.open(rig.port)))
    for (const { socket } of sockets) socket.write(Buffer.of(0x10, 0x7f))
    await healthy.roundTrip()
    await Promise.all(sockets.map(socket => socket.closed))
    t.ok(rig.lines.some(({ fields }) => fields.bound === 'unauthenticatedMax'))
    t.ok(rig.lines.length <= 31, `lines are bounded: ${rig.lines.length}`)
    await using after = await RawClient.connect(rig.port)
    await after.roundTrip()
    t.equal(rig.broker.clients.count, 2)
  },
)

t.test('keep-alive: 1.5 times the interval of silence, and every packet counts [MQTT-3.1.2-24]', async t => {
  const clock = new ManualClock()
  await using rig = await BrokerRig.start({ clock })
  await using client = await RawClient.connect(rig.port, { keepalive: 10 })
  for (let i = 1; i <= 5; i++) {
    clock.advance(14_000)
    client.publish('a', 'x', 1, i)
    await client.next('puback')
  }
  t.notOk(client.isClosed, 'PUBLISH alone keeps it alive')
  clock.advance(14_999)
  await client.roundTrip()
  clock.advance(15_000)
  await client.closed
  t.match(rig.lines, [{ message: /keep-alive/ }])
})

t.test('D6: connections and those not authenticated are bounded', async t => {
  await using rig = await BrokerRig.start({ limits: { connectionsMax: 3, unauthenticatedMax: 2 } })
  await using one = await RawClient.open(rig.port)
  await using _two = await RawClient.open(rig.port)
  await using three = await RawClient.open(rig.port)
  await three.closed
  t.match(rig.lines.at(-1), { fields: { bound: 'unauthenticatedMax' } })
  one.send(connectPacket())
  await one.next('connack')
  await using four = await RawClient.connect(rig.port)
  await using five = await RawClient.open(rig.port)
  await five.closed
  t.match(rig.lines.at(-1), { fields: { bound: 'connectionsMax' } })
  await four.roundTrip()
})

t.test('a client id with control characters is refused', async t => {
  await using rig = await BrokerRig.start()
  await using client = await RawClient.open(rig.port)
  client.send(connectPacket({ clientId: 'a\u0007b' }))
  await client.closed
  t.notOk(client.packets.length)
})
