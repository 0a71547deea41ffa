import mqtt from 'mqtt-packet'
import t from 'tap'
import { FescueError } from '#base/errors.ts'
import { FrameSplitter } from '#broker/frame-splitter.ts'
import { seededRandom } from '../harness/random.ts'

function collect(maxPacketBytes = 256 * 1024) {
  const packets: Buffer[] = []
  const splitter = new FrameSplitter(
    {
      frame(buffer, start, body, end) {
        packets.push(Buffer.from(buffer.subarray(start, end)))
        return body >= start + 2
      },
    },
    maxPacketBytes,
  )
  return { packets, splitter }
}

const publish = (bytes: number) =>
  mqtt.generate({
    cmd: 'publish',
    topic: 'a/b',
    payload: Buffer.alloc(bytes, 7),
    qos: 0,
    dup: false,
    retain: false,
  })

t.test('cuts packets whatever the chunks are', async t => {
  const { seed, next } = seededRandom()
  t.comment(`seed ${seed}`)
  const sent = Array.from({ length: 60 }, () => publish(Math.floor(next() ** 4 * 70_000)))
  const bytes = Buffer.concat(sent)
  const { packets, splitter } = collect()
  for (let at = 0; at < bytes.length; ) {
    const size = 1 + Math.floor(next() ** 3 * 20_000)
    splitter.push(bytes.subarray(at, at + size))
    at += size
  }
  t.equal(packets.length, sent.length)
  t.ok(Buffer.concat(packets).equals(bytes))
})

t.test('one byte at a time', async t => {
  const bytes = Buffer.concat([publish(0), publish(127), publish(300), Buffer.of(0xc0, 0)])
  const { packets, splitter } = collect()
  for (const byte of bytes) splitter.push(Buffer.of(byte))
  t.ok(Buffer.concat(packets).equals(bytes))
  t.equal(packets.length, 4)
})

t.test('a packet above the bound is refused from its header alone', async t => {
  const { splitter } = collect(1_000)
  splitter.push(publish(900))
  const code = (error: unknown) => error instanceof FescueError && error.code
  try {
    // 256 MB announced, nothing sent of it
    splitter.push(Buffer.of(0x30, 0xff, 0xff, 0xff, 0x7f))
    t.fail('was taken')
  } catch (error) {
    t.equal(code(error), 'FESCUE_PACKET_TOO_LARGE')
  }
})

t.test('the bound counts the fixed header and may be raised', async t => {
  const packet = publish(200)
  const { packets, splitter } = collect(packet.length)
  splitter.push(packet)
  t.throws(() => splitter.push(publish(201)), { code: 'FESCUE_PACKET_TOO_LARGE' })
  splitter.maxPacketBytes = packet.length + 1
  splitter.push(publish(201))
  t.equal(packets.length, 2)
})

t.test('a remaining length of five bytes is malformed', async t => {
  const { splitter } = collect()
  t.throws(() => splitter.push(Buffer.of(0x30, 0xff, 0xff, 0xff, 0xff, 0x01)), {
    code: 'FESCUE_PACKET_MALFORMED',
  })
})

t.test('an announced length costs no memory before its bytes come', async t => {
  const splitters = Array.from({ length: 200 }, () => collect().splitter)
  const before = process.memoryUsage().arrayBuffers
  for (const splitter of splitters) splitter.push(Buffer.of(0x30, 0x80, 0x80, 0x0f, 0, 1, 0x61))
  const grown = process.memoryUsage().arrayBuffers - before
  t.ok(grown < 200 * 2_048, `${grown} bytes for 200 announcements of 256 KiB`)
})

t.test('a sink that stops gets no further packet of the chunk', async t => {
  let seen = 0
  const splitter = new FrameSplitter(
    {
      frame() {
        seen += 1
        return false
      },
    },
    1_000,
  )
  splitter.push(Buffer.concat([publish(1), publish(1)]))
  t.equal(seen, 1)
})
