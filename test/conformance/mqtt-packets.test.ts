/** The codecs of the data plane against mqtt-packet, which knows nothing of ours. */
import fc from 'fast-check'
import mqtt from 'mqtt-packet'
import t from 'tap'
import { contentHash } from '#broker/content-hash.ts'
import { clientIdMaxLength, readConnect } from '#broker/packet-check.ts'
import { readPacketId, readPublish } from '#broker/packet-reader.ts'
import { decodeText, TopicReader } from '#broker/packet-text.ts'
import { copyMaxBytes, PublishEncoder } from '#broker/packet-writer.ts'
import { connectPacket, publishPacket } from '../harness/raw-client.ts'

const bodyOf = (packet: Buffer): number => {
  let at = 1
  while ((packet[at] ?? 0) >= 128) at++
  return at + 1
}
const qosArbitrary = fc.constantFrom(0 as const, 1 as const, 2 as const)
const topicArbitrary = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 60 })
  .filter(text => !/[+#\p{Cc}\p{Noncharacter_Code_Point}]/u.test(text) && text.isWellFormed())

t.test('PUBLISH: what mqtt-packet encodes is read, and what is written it parses', async () => {
  const topics = new TopicReader()
  const encoder = new PublishEncoder()
  fc.assert(
    fc.property(
      topicArbitrary,
      fc.uint8Array({ maxLength: 3 * copyMaxBytes }),
      qosArbitrary,
      fc.boolean(),
      fc.integer({ min: 1, max: 65_535 }),
      (topic, bytes, qos, retain, packetId) => {
        const payload = Buffer.from(bytes)
        const packet = mqtt.generate(publishPacket(topic, payload, qos, packetId, { retain, dup: qos > 0 }))
        const read = readPublish(topics, packet, 0, bodyOf(packet), packet.length)
        if (read.topic !== topic || read.qos !== qos || read.retain !== retain) throw new Error('read')
        if (read.packetId !== (qos === 0 ? 0 : packetId) || read.dup !== qos > 0) throw new Error('id')
        if (!payload.equals(packet.subarray(read.payloadFrom, read.payloadTo))) throw new Error('payload')

        const encoded = encoder.encode(Buffer.from(topic), payload, qos, retain)
        const head = Buffer.from(encoded.bytes.subarray(0, encoded.length))
        if (encoded.packetIdAt >= 0) head.writeUInt16BE(packetId, encoded.packetIdAt)
        const whole = encoded.payload === undefined ? head : Buffer.concat([head, encoded.payload])
        const expected = mqtt.generate(publishPacket(topic, payload, qos, packetId, { retain }))
        if (!whole.equals(expected)) throw new Error('written')
      },
    ),
    { numRuns: 400 },
  )
})

t.test('a topic of the greatest length is written', async t => {
  const topic = 'x'.repeat(65_535)
  const encoded = new PublishEncoder().encode(Buffer.from(topic), Buffer.from('p'), 1, false)
  const packet = Buffer.from(encoded.bytes.subarray(0, encoded.length))
  packet.writeUInt16BE(7, encoded.packetIdAt)
  t.ok(packet.equals(mqtt.generate(publishPacket(topic, 'p', 1, 7))))
})

t.test('a known topic is the same string, whatever shares its slot', async t => {
  const topics = new TopicReader()
  const read = (topic: string) => {
    const bytes = Buffer.from(topic)
    return topics.read(bytes, 0, bytes.length)
  }
  for (let round = 0; round < 3; round++)
    for (let i = 0; i < 10_000; i++)
      if (read(`sensors/${i}/temperature`) !== `sensors/${i}/temperature`) t.fail()
  const long = 'l'.repeat(3_000)
  t.equal(read(long), long)
  t.pass()
})

t.test('text: UTF-8 to the letter', async t => {
  const decode = (...bytes: number[]) => decodeText(Buffer.from(bytes), 0, bytes.length, 'field')
  t.equal(decode(0xef, 0xbb, 0xbf, 0x61), '\ufeffa', 'U+FEFF is kept [MQTT-1.5.3-3]')
  t.equal(decode(...Buffer.from('grün/温度/🌡')), 'grün/温度/🌡')
  const refused: number[][] = [
    [0x61, 0x00],
    [0x01],
    [0x7f],
    [0xc2, 0x85],
    [0xed, 0xa0, 0x80],
    [0xed, 0xbf, 0xbf],
    [0xc0, 0x80],
    [0xff],
    [0xe2, 0x82],
    [0xf4, 0x90, 0x80, 0x80],
    [0xef, 0xbf, 0xbf],
    [0xf0, 0x9f, 0xbf, 0xbe],
  ]
  for (const bytes of refused)
    t.throws(() => decode(...bytes), { code: 'FESCUE_PACKET_MALFORMED' }, Buffer.from(bytes).toString('hex'))
})

t.test('CONNECT: every field is read', async t => {
  const will = { topic: 'w', payload: Buffer.from('gone'), qos: 2 as const, retain: true }
  const packet = mqtt.generate(
    connectPacket({
      clientId: 'c',
      clean: false,
      keepalive: 300,
      username: 'u',
      password: Buffer.from('p'),
      will,
    }),
  )
  t.same(readConnect(packet, bodyOf(packet), packet.length), {
    kind: 'connect',
    connect: {
      level: 4,
      clientId: 'c',
      clean: false,
      keepAliveSeconds: 300,
      will,
      username: 'u',
      password: Buffer.from('p'),
    },
  })
})

t.test(
  'CONNECT: flags that contradict each other, lengths that do not fit, names that are unknown',
  async t => {
    const body = (flags: number, ...rest: number[]) =>
      Buffer.from([0, 4, 77, 81, 84, 84, 4, flags, 0, 0, ...rest])
    const cases: [name: string, bytes: Buffer][] = [
      ['reserved flag', body(3, 0, 1, 97)],
      ['will QoS without a will', body(0x0a, 0, 1, 97)],
      ['will retain without a will', body(0x22, 0, 1, 97)],
      ['will QoS 3', body(0x1e, 0, 1, 97, 0, 1, 97, 0, 0)],
      ['will with an empty topic', body(6, 0, 1, 97, 0, 0, 0, 0)],
      ['will to a wildcard', body(6, 0, 1, 97, 0, 1, 35, 0, 0)],
      ['password without a user name', body(0x42, 0, 1, 97, 0, 0)],
      ['user name flag without a user name', body(0x82, 0, 1, 97)],
      ['bytes after the last field', body(2, 0, 1, 97, 0)],
      ['client id that passes the end', body(2, 0, 9, 97)],
      ['protocol name', Buffer.from([0, 4, 77, 81, 84, 88, 4, 2, 0, 0, 0, 1, 97])],
      ['nothing', Buffer.alloc(0)],
    ]
    for (const [name, bytes] of cases)
      t.throws(() => readConnect(bytes, 0, bytes.length), { code: 'FESCUE_PACKET_MALFORMED' }, name)
  },
)

t.test('D6: a client id has a greatest length', async t => {
  const packet = mqtt.generate(connectPacket({ clientId: 'x'.repeat(clientIdMaxLength + 1) }))
  t.match(readConnect(packet, bodyOf(packet), packet.length), { kind: 'refusal', returnCode: 2 })
})

t.test('acknowledgements are two bytes and not zero', async t => {
  t.equal(readPacketId(Buffer.of(0x40, 2, 1, 2), 2, 4), 258)
  t.throws(() => readPacketId(Buffer.of(0x40, 2, 0, 0), 2, 4), { code: 'FESCUE_PACKET_MALFORMED' })
  t.throws(() => readPacketId(Buffer.of(0x40, 1, 1), 2, 3), { code: 'FESCUE_PACKET_MALFORMED' })
})

t.test(
  'the content hash is stored, so it never changes; it tells topics, payloads and their borders apart',
  async t => {
    const hash = (topic: string, payload: string) => {
      const bytes = Buffer.from(`..${topic}..${payload}`)
      const payloadFrom = 4 + Buffer.byteLength(topic)
      return contentHash(bytes, 2, payloadFrom - 2, payloadFrom, bytes.length)
    }
    t.equal(hash('sensors/1/temperature', '{"celsius":21.5}'), 5285342387665588557n)
    const seen = new Set<bigint>()
    let count = 0
    for (let i = 0; i < 20_000; i++, count++) seen.add(hash(`t/${i % 7}`, `{"value":${i}}`))
    for (const [topic, payload] of [
      ['ab', 'c'],
      ['a', 'bc'],
      ['', 'abc'],
      ['abc', ''],
      ['a', 'b'],
      ['a', 'b\0'],
    ] as const) {
      seen.add(hash(topic, payload))
      count += 1
    }
    t.equal(seen.size, count)
  },
)

t.test('what mqtt-packet parses of arbitrary bytes never crashes the readers', async () => {
  const topics = new TopicReader()
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 2, maxLength: 80 }), bytes => {
      const packet = Buffer.from(bytes)
      for (const read of [
        () => readPublish(topics, packet, 0, 2, packet.length),
        () => readConnect(packet, 0, packet.length),
        () => readPacketId(packet, 2, packet.length),
      ]) {
        try {
          read()
        } catch (error) {
          if ((error as { code?: string }).code !== 'FESCUE_PACKET_MALFORMED') throw error
        }
      }
    }),
    { numRuns: 2_000 },
  )
})
