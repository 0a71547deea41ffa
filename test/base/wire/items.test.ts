import fc from 'fast-check'
import t from 'tap'
import { decodeItems, encodeItems, itemNumbers, partOfItems, type WireItem } from '#base/wire/items.ts'

const item: fc.Arbitrary<WireItem> = fc.record({
  invocationId: fc.stringMatching(/^[0-9a-f-]{36}$/),
  attempt: fc.integer({ min: 1, max: 9 }),
  topic: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 }),
  payload: fc.oneof(
    fc.string({ maxLength: 200 }).map(text => Buffer.from(text)),
    fc.string({ unit: 'binary', maxLength: 50 }).map(text => Buffer.from(text)),
    fc.constant(Buffer.alloc(0)),
  ),
  time: fc.integer({ min: 0, max: 2 ** 45 }),
  qos: fc.integer({ min: 0, max: 2 }),
  retain: fc.boolean(),
  orderKey: fc.string(),
})

/** Reads a chunk back as the guest does. */
function readBack(chunk: ReturnType<typeof decodeItems>, payload: 'json' | 'binary') {
  const numbers = new Float64Array(chunk.numbers)
  const read = []
  let at = 0
  let rawAt = 0
  for (let i = 0; i < chunk.count; i++) {
    const [time, attempt, flags, idLength = 0, topicLength = 0, payloadLength = 0] = numbers.subarray(
      i * itemNumbers,
      (i + 1) * itemNumbers,
    )
    const cut = (length: number) => {
      at += length
      return chunk.text.slice(at - length, at)
    }
    const invocationId = cut(idLength)
    const topic = cut(topicLength)
    const bytes =
      payload === 'json'
        ? cut(payloadLength)
        : Buffer.from(chunk.raw.slice(rawAt, rawAt + payloadLength)).toString('hex')
    rawAt += payload === 'json' ? 0 : payloadLength
    read.push({ time, attempt, flags, invocationId, topic, bytes })
  }
  return read
}

function expected(items: readonly WireItem[], payload: 'json' | 'binary') {
  return items.map(each => ({
    time: each.time,
    attempt: each.attempt,
    flags: each.qos | (each.retain ? 4 : 0),
    invocationId: each.invocationId,
    topic: Buffer.from(each.topic).toString(),
    bytes: each.payload.toString(payload === 'json' ? 'utf8' : 'hex'),
  }))
}

for (const payload of ['json', 'binary'] as const)
  t.test(`items with ${payload} payloads arrive whole, and so does each part of them`, async t => {
    fc.assert(
      fc.property(
        fc.array(item, { minLength: 1, maxLength: 12 }),
        fc.nat(11),
        fc.nat(12),
        (items, from, count) => {
          const body = Buffer.concat(encodeItems({ run: 5, first: 3, items, last: true }, payload, true))
          const chunk = decodeItems(body, payload)
          t.same([chunk.run, chunk.first, chunk.count, chunk.last], [5, 3, items.length, true])
          if (JSON.stringify(readBack(chunk, payload)) !== JSON.stringify(expected(items, payload)))
            throw new Error('items differ')
          if (JSON.stringify(chunk.keys) !== JSON.stringify(items.map(each => each.orderKey)))
            throw new Error('keys')
          if (from >= items.length) return
          const part = partOfItems(chunk, from, count, payload)
          const want = expected(items.slice(from, from + count), payload)
          if (part.first !== 3 + from || JSON.stringify(readBack(part, payload)) !== JSON.stringify(want))
            throw new Error('part differs')
        },
      ),
    )
  })

t.test('without concurrency no order keys travel', async t => {
  const [one] = fc.sample(item, { numRuns: 1, seed: 1 })
  const body = Buffer.concat(
    encodeItems({ run: 1, first: 0, items: [one as WireItem], last: false }, 'json', false),
  )
  const chunk = decodeItems(body, 'json')
  t.same(chunk.keys, [])
  t.equal(chunk.last, false)
})
