import fc from 'fast-check'
import t from 'tap'
import { type Frame, FrameReader, frameBytesMax, frameHeader, WireError } from '#base/wire/frame.ts'

const frames = fc.array(
  fc.record({
    type: fc.integer({ min: 0, max: 255 }),
    id: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    body: fc.uint8Array({ maxLength: 300 }),
  }),
  { maxLength: 20 },
)

t.test('frames come out as they went in, however the stream is cut', async t => {
  fc.assert(
    fc.property(frames, fc.array(fc.integer({ min: 1, max: 64 }), { minLength: 1 }), (sent, cuts) => {
      const stream = Buffer.concat(
        sent.flatMap(({ type, id, body }) => [frameHeader(type, id, body.length), Buffer.from(body)]),
      )
      const got: Frame[] = []
      const reader = new FrameReader()
      let at = 0
      for (let i = 0; at < stream.length; i++) {
        const end = Math.min(stream.length, at + (cuts[i % cuts.length] ?? 1))
        reader.push(stream.subarray(at, end), frame => got.push({ ...frame, body: Buffer.from(frame.body) }))
        at = end
      }
      if (reader.heldBytes !== 0) throw new Error('bytes left')
      if (got.length !== sent.length) throw new Error(`${got.length} of ${sent.length} frames`)
      for (const [i, frame] of got.entries()) {
        const want = sent[i]
        if (frame.type !== want?.type || frame.id !== want.id || !frame.body.equals(want.body))
          throw new Error(`frame ${i}`)
      }
    }),
  )
  t.pass()
})

t.test('a length out of bounds is an error of the peer', async t => {
  const head = (length: number) => {
    const bytes = Buffer.alloc(9)
    bytes.writeUInt32LE(length, 0)
    return bytes
  }
  for (const length of [0, 4, frameBytesMax + 1, 2 ** 32 - 1])
    t.throws(() => new FrameReader().push(head(length), () => {}), WireError, `${length}`)
  t.throws(() => frameHeader(1, 1, frameBytesMax), WireError, 'neither is one sent')
})

t.test('a large frame in small pieces is joined once, not with every piece', async t => {
  const reader = new FrameReader()
  const body = Buffer.alloc(4_000_000, 7)
  const stream = Buffer.concat([frameHeader(1, 2, body.length), body])
  let got = 0
  const startedAt = performance.now()
  for (let at = 0; at < stream.length; at += 1000)
    reader.push(stream.subarray(at, at + 1000), frame => {
      got = frame.body.length
    })
  t.equal(got, body.length)
  t.ok(performance.now() - startedAt < 1500, 'joining 4,000 pieces is not quadratic')
})
