import fc from 'fast-check'
import t from 'tap'
import { BlockReader, encodeBlock, encodeSparseBlock } from '#store/block.ts'
import { ByteReader, ByteWriter, varintBytes } from '#store/bytes.ts'
import { decodeCheckpoint, encodeCheckpoint } from '#store/checkpoint-codec.ts'
import type { LogRecord, RecordInput } from '#store/record.ts'
import { decodeRecord, encodeRecord, identified, recordBytes } from '#store/record-codec.ts'

const text = fc.oneof(fc.string({ maxLength: 100 }), fc.string({ unit: 'grapheme', maxLength: 100 }))
const time = fc.integer({ min: 0, max: 2 ** 48 - 1 })

export const recordArbitrary: fc.Arbitrary<RecordInput> = fc.record(
  {
    time,
    topic: text,
    payload: fc.uint8Array({ maxLength: 400 }).map(bytes => Buffer.from(bytes)),
    qos: fc.constantFrom(0 as const, 1 as const, 2 as const),
    retain: fc.constant(true),
    hops: fc.integer({ min: 1, max: 255 }),
    origin: text,
    key: text,
    expiresAt: time,
    priority: fc.integer({ min: 0, max: 9 }),
    messageId: text,
    trace: text,
    contentType: text,
    retryOf: text,
    extra: text,
  },
  { requiredKeys: ['time', 'topic', 'payload', 'qos'] },
)
/** UTF-8 has no lone surrogates, and MQTT topics cannot hold them. */
const wellFormed = (record: RecordInput): boolean =>
  Object.values(record).every(value => typeof value !== 'string' || value.isWellFormed())

t.test('a record is read back as it was written', async t => {
  fc.assert(
    fc.property(recordArbitrary.filter(wellFormed), record => {
      t.strictSame(decodeRecord(encodeRecord(record)), { ...record })
    }),
    { numRuns: 300 },
  )
})

t.test('recordBytes is exact for ASCII', async t => {
  fc.assert(
    fc.property(recordArbitrary.filter(wellFormed), record => {
      const isAscii = Object.values(record).every(
        value => typeof value !== 'string' || Buffer.byteLength(value) === value.length,
      )
      const encoded = encodeRecord(record).length - 1
      t.ok(isAscii ? encoded === recordBytes(record) : encoded >= recordBytes(record))
    }),
    { numRuns: 300 },
  )
})

t.test('absent fields take no bytes: 256 bytes of payload and a topic of 21 cost 288', async t => {
  const record: RecordInput = { time: 1, topic: 'sensors/a/temperature', qos: 1, payload: Buffer.alloc(256) }
  t.equal(recordBytes(record), 2 + 6 + 1 + 21 + 2 + 256)
})

t.test('any bytes decode or fail with FESCUE_STORE_DAMAGED', async t => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), bytes => {
      try {
        decodeRecord(Buffer.from(bytes))
      } catch (error) {
        t.match(error, { code: 'FESCUE_STORE_DAMAGED' })
      }
    }),
    { numRuns: 500 },
  )
})

t.test('varints up to 53 bits, and their length', async t => {
  fc.assert(
    fc.property(fc.maxSafeInteger().map(Math.abs), value => {
      const writer = new ByteWriter(1)
      writer.varint(value)
      t.equal(new ByteReader(writer.result()).varint(), value)
      t.equal(writer.length, varintBytes(value))
    }),
  )
})

t.test('a checkpoint is read back as it was written', async t => {
  const state = {
    low: 2 ** 40,
    done: [[2 ** 40 + 3, 2 ** 40 + 9]] as const,
    retries: [{ offset: 7, attempts: 3, nextAt: 5 }],
  }
  t.same(decodeCheckpoint(encodeCheckpoint(state)), state)
  t.throws(() => decodeCheckpoint(Buffer.of(9)), RangeError)
})

const records = (count: number): LogRecord[] =>
  Array.from({ length: count }, (_, index) =>
    identified(
      { time: index, topic: `t/${index}`, qos: 1, payload: Buffer.from(`p${index}`) },
      'a1b2c3d4e5f6',
      100 + index,
    ),
  )

function readAll(block: BlockReader | undefined): LogRecord[] {
  const found: LogRecord[] = []
  for (let item = block?.next(); item !== undefined; item = block?.next()) found.push(item.record)
  return found
}

t.test('a block gives its records back, from any offset', async t => {
  const { key, value } = encodeBlock(7, records(20), 1000, () => {})
  const block = BlockReader.open(key, value)
  t.match(block, { first: 100, end: 120, count: 20, epoch: 'a1b2c3d4e5f6', sparse: false })
  t.strictSame(readAll(block), records(20))
  const later = BlockReader.open(key, value)
  later?.skipTo(115)
  t.same(
    readAll(later).map(item => item.offset),
    [115, 116, 117, 118, 119],
  )
})

t.test('a sparse block says which offsets are missing on purpose', async t => {
  const kept = records(20).filter(item => item.offset % 7 === 0)
  const { key, value } = encodeSparseBlock(7, { first: 100, end: 120, epoch: 'a1b2c3d4e5f6' }, kept)
  const block = BlockReader.open(key, value)
  t.match(block, { first: 100, end: 120, count: kept.length, sparse: true })
  t.strictSame(readAll(block), kept)
  const later = BlockReader.open(key, value)
  later?.skipTo(106)
  t.same(
    readAll(later).map(item => item.offset),
    [112, 119],
  )
})

t.test('one flipped bit anywhere in a block, or a wrong key, is seen', async t => {
  const { key, value } = encodeBlock(7, records(3), 100, () => {})
  for (let bit = 0; bit < value.length * 8; bit++) {
    const damaged = Buffer.from(value)
    damaged[bit >>> 3] = (damaged[bit >>> 3] ?? 0) ^ (1 << (bit & 7))
    t.equal(BlockReader.open(key, damaged), undefined)
  }
  const elsewhere = Buffer.from(key)
  elsewhere[10] = 99
  t.equal(BlockReader.open(elsewhere, value), undefined)
  for (let length = 0; length < value.length; length++)
    t.equal(BlockReader.open(key, value.subarray(0, length)), undefined)
})
