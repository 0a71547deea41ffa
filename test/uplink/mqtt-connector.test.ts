/** The mqtt connector against a broker that answers as told: codes, versions, window, silence. */
import fc from 'fast-check'
import mqttPacket from 'mqtt-packet'
import t from 'tap'
import type { OutgoingBatch } from '#uplink/connector.ts'
import { Publications, packetBytes } from '#uplink/mqtt-publication.ts'
import { SendWindow, windowMax } from '#uplink/send-window.ts'
import { accepted, acknowledge, type Peer, startFakeBroker } from '../fakes/mqtt-broker.ts'
import { type Device, mqttUplink, range, startDevice, temporary, until } from '../fakes/uplink-rig.ts'

t.setTimeout(100_000)

function deviceAt(folder: string, url: string, more: object = {}): Promise<Device> {
  return startDevice({ folder: `${folder}/device`, url: '', uplinks: [mqttUplink(url)], ...more })
}

function linkOf(device: Device) {
  return device.uplink.status().links[0]?.link
}

function payloads(packets: readonly { readonly payload: string | Buffer }[]): number[] {
  return packets.map(({ payload }) => JSON.parse(String(payload)).n)
}

t.test('CONNACK: wrong credentials are refused, a busy broker is tried again soon', async t => {
  const cases: [version: 4 | 5, code: number, state: 'refused' | 'offline', reason: RegExp][] = [
    [5, 0x86, 'refused', /Bad User Name or Password \(0x86\)/],
    [5, 0x87, 'refused', /Not authorized \(0x87\)/],
    [5, 0x85, 'refused', /Client Identifier not valid \(0x85\)/],
    [5, 0x88, 'offline', /Server unavailable \(0x88\)/],
    [5, 0x89, 'offline', /Server busy \(0x89\)/],
    [4, 2, 'refused', /Identifier rejected \(0x02\)/],
    [4, 3, 'offline', /Server unavailable \(0x03\)/],
    [4, 4, 'refused', /Bad username or password \(0x04\)/],
    [4, 5, 'refused', /Not authorized \(0x05\)/],
  ]
  for (const [version, code, state, reason] of cases) {
    await using dir = await temporary()
    await using broker = await startFakeBroker({
      connack: ({ protocolVersion }) => {
        if (version === 4 && protocolVersion === 5)
          return { cmd: 'connack', reasonCode: 1, sessionPresent: false }
        return version === 5
          ? { cmd: 'connack', reasonCode: code, sessionPresent: false }
          : { cmd: 'connack', returnCode: code, sessionPresent: false }
      },
    })
    await using device = await deviceAt(dir.path, broker.url)
    await until(() => linkOf(device)?.state === state)
    t.match(linkOf(device), { reason })
  }
})

for (const code of [0x01, 0x84])
  t.test(
    `a broker that does not know MQTT 5 (0x${code.toString(16)}) is asked with 3.1.1, at once and from then on`,
    async t => {
      await using dir = await temporary()
      await using broker = await startFakeBroker({
        connack: connect =>
          connect.protocolVersion === 5
            ? { cmd: 'connack', reasonCode: code, sessionPresent: false }
            : accepted(connect),
      })
      await using device = await deviceAt(dir.path, broker.url)
      await device.count(0, 50)
      await device.drained()
      t.same(payloads(broker.published), range(0, 50))
      broker.peers.at(-1)?.hangUp()
      await until(() => broker.peers.length === 3)
      t.same(
        broker.peers.map(({ connect }) => connect.protocolVersion),
        [5, 4, 4],
      )
    },
  )

t.test('a broker that hangs up at MQTT 5 without a word is asked with 3.1.1 the fourth time', async t => {
  await using dir = await temporary()
  await using broker = await startFakeBroker({
    connack: connect => (connect.protocolVersion === 5 ? undefined : accepted(connect)),
  })
  await using device = await deviceAt(dir.path, broker.url)
  await device.count(0, 5)
  await device.drained()
  t.same(
    broker.peers.map(({ connect }) => connect.protocolVersion),
    [5, 5, 5, 4],
  )
})

t.test('no more records are under way than the broker takes, and never more than the window', async t => {
  for (const [receiveMaximum, most] of [
    [7, 7],
    [undefined, windowMax],
  ] as const) {
    await using dir = await temporary()
    let underWay = 0
    let highest = 0
    const waiting: (() => void)[] = []
    await using broker = await startFakeBroker({
      connack: connect => accepted(connect, receiveMaximum === undefined ? {} : { receiveMaximum }),
      onPublish(packet, peer) {
        underWay += 1
        highest = Math.max(highest, underWay)
        waiting.push(() => {
          underWay -= 1
          acknowledge(packet, peer)
        })
        const answer = () => {
          for (const each of waiting.splice(0)) each()
        }
        // A while longer, for one too many to be seen; the last ones do not fill the window.
        if (waiting.length === most) setTimeout(answer, 20)
        else if (broker.published.length === 200) answer()
      },
    })
    await using device = await deviceAt(dir.path, broker.url)
    await device.count(0, 200)
    await device.drained()
    t.equal(highest, most)
    t.same(payloads(broker.published), range(0, 200))
  }
})

t.test('the checkpoint counts an unbroken run of PUBACKs only (D3)', async t => {
  await using dir = await temporary()
  let peerOf: Peer | undefined
  await using broker = await startFakeBroker({
    onPublish(packet, peer) {
      peerOf = peer
      // The first connection withholds the PUBACK of record 40.
      if (broker.peers.length > 1 || JSON.parse(String(packet.payload)).n !== 40) acknowledge(packet, peer)
    },
  })
  await using device = await deviceAt(dir.path, broker.url)
  await device.count(0, 100)
  await until(() => broker.published.length === 100)
  await until(() => device.uplink.status().links[0]?.sentRecords === 32)
  t.match(device.uplink.status().links[0]?.logs, [{ acknowledged: 32 }])
  peerOf?.hangUp()
  await device.drained()
  t.same(payloads(broker.peers[0]?.published ?? []), range(0, 100))
  t.same(
    payloads(broker.peers[1]?.published ?? []),
    range(40, 100),
    'sent again from the first that was not acknowledged',
  )
})

t.test('a broker that swallows everything is found out by the deadline', async t => {
  await using dir = await temporary()
  await using broker = await startFakeBroker({ onPublish: () => {} })
  await using device = await deviceAt(dir.path, broker.url, { timings: { requestTimeoutMs: 100 } })
  await device.count(0, 10)
  await until(() => linkOf(device)?.state === 'offline')
  t.match(linkOf(device), { reason: /no acknowledgement within \d+ ms/ })
})

t.test('an idle link notices at once that its connection is gone', async t => {
  await using dir = await temporary()
  await using broker = await startFakeBroker()
  await using device = await deviceAt(dir.path, broker.url, {
    timings: { probeMs: 60_000, reconnectInitialMs: 60_000, reconnectMaxMs: 60_000 },
  })
  await until(() => linkOf(device)?.state === 'connected')
  broker.peers[0]?.hangUp()
  await until(() => linkOf(device)?.state === 'offline')
  t.match(linkOf(device), { reason: /closed|ECONNRESET/ })
})

t.test('cut on purpose, the connection is closed; restored, a new one is made', async t => {
  await using dir = await temporary()
  const farewells: string[] = []
  await using broker = await startFakeBroker({ onPacket: packet => farewells.push(packet.cmd) })
  await using device = await deviceAt(dir.path, broker.url)
  await until(() => linkOf(device)?.state === 'connected')
  device.uplink.setOnline(false)
  await until(() => farewells.length === 1)
  t.same(farewells, ['disconnect'])
  await device.count(0, 3)
  device.uplink.setOnline(true)
  await device.drained()
  t.equal(broker.peers.length, 2)
})

t.test(
  'DISCONNECT: another client of the id is a named state; about a message, the message is put aside',
  async t => {
    await using dir = await temporary()
    await using broker = await startFakeBroker({
      onPublish(packet, peer) {
        if (packet.topic !== 'poison') return acknowledge(packet, peer)
        peer.send({ cmd: 'disconnect', reasonCode: 0x95 })
        peer.hangUp()
      },
    })
    await using device = await deviceAt(dir.path, broker.url)
    await device.count(0, 20)
    await device.publish('poison', { n: -1 })
    await device.count(20, 40)
    await device.drained()
    t.match(device.uplink.status().links, [{ rejectedRecords: 1 }])
    const arrived = payloads(broker.published.filter(({ topic }) => topic === 'count'))
    t.same([...new Set(arrived)], range(0, 40))
    broker.peers.at(-1)?.send({ cmd: 'disconnect', reasonCode: 0x8e })
    broker.peers.at(-1)?.hangUp()
    await until(() => linkOf(device)?.state === 'refused')
    t.match(linkOf(device), { reason: /Session taken over \(0x8e\)/ })
  },
)

t.test('the window is one after a connection that broke, and doubles', t => {
  const window = new SendWindow()
  t.equal(window.records(65_535), windowMax)
  t.equal(window.records(20), 20)
  window.broke()
  const sizes = range(0, 9).map(() => {
    const size = window.records(65_535)
    window.acknowledged()
    return size
  })
  t.same(sizes, [1, 2, 4, 8, 16, 32, 64, 100, 100])
  t.end()
})

t.test('the size that is worked out is never below that of the packet, and at most 12 above', t => {
  const record = fc.record({
    topic: fc.string({ minLength: 1, maxLength: 200, unit: 'grapheme' }),
    payload: fc.uint8Array({ maxLength: 5_000 }).map(bytes => Buffer.from(bytes)),
    hops: fc.option(fc.integer({ min: 0, max: 15 }), { nil: undefined }),
    contentType: fc.option(fc.string({ maxLength: 40 }), { nil: undefined }),
    expiresAt: fc.option(fc.integer({ min: 1, max: 2 ** 45 }), { nil: undefined }),
  })
  const publications = new Publications({ device: 'pi', topic: 'a/{topic}', format: 'raw', now: () => 0 })
  fc.assert(
    fc.property(record, fc.constantFrom(4 as const, 5 as const), (parts, version) => {
      const batch = {
        log: 'outbox.all.5.1',
        kind: 'message',
        records: [{ offset: 9, epoch: 'abc', time: 0, qos: 1, ...parts }],
        from: 9,
        to: 10,
        after: undefined,
        bytes: 0,
      } as unknown as OutgoingBatch
      const publication = publications.of(batch, 0)!
      const { topic, payload, properties } = publication
      const packet = {
        cmd: 'publish',
        topic,
        payload,
        qos: 1,
        dup: false,
        retain: false,
        messageId: 1,
      } as const
      const real = mqttPacket.generate(version === 5 ? { ...packet, properties } : packet, {
        protocolVersion: version,
      })
      const bytes = packetBytes(publication, version)
      return bytes >= real.length && bytes <= real.length + 12
    }),
  )
  t.end()
})
