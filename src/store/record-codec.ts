/**
 * A record as bytes.
 *
 *   flags u16 │ time u48 │ topic │ hops u8? origin? key? expiresAt u48? priority u8? … │ payload
 *      └ two bits QoS, one bit for `retain`, one for each optional field that is present
 *
 * Absent fields take no bytes; text and payload carry their length as a varint. In a block (`block.ts`) the
 * records follow each other; a record on its own (retained values) has one version byte before it.
 * Decoding does not copy the payload: it is a view into the bytes given.
 */

import { FescueError } from '#base/errors.ts'
import type { Epoch, Offset } from '#base/ids.ts'
import { ByteReader, ByteWriter, varintBytes } from './bytes.ts'
import type { LogRecord, Qos, RecordInput } from './record.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

const version = 1
const timeMax = 2 ** 48 - 1

/** Bits of the flags. */
const bit = {
  retain: 1 << 2,
  hops: 1 << 3,
  origin: 1 << 4,
  key: 1 << 5,
  expiresAt: 1 << 6,
  priority: 1 << 7,
  messageId: 1 << 8,
  trace: 1 << 9,
  contentType: 1 << 10,
  retryOf: 1 << 11,
  extra: 1 << 12,
} as const

/**
 * Bytes that a record counts for in its log's bounds: what it takes encoded, each character counted as one
 * byte (so exact for ASCII, and cheap enough to be asked for each append).
 */
export function recordBytes(record: RecordInput): number {
  let bytes = 8 + textBytes(record.topic) + record.payload.length + varintBytes(record.payload.length)
  if (record.hops) bytes += 1
  if (record.origin !== undefined) bytes += textBytes(record.origin)
  if (record.key !== undefined) bytes += textBytes(record.key)
  if (record.expiresAt !== undefined) bytes += 6
  if (record.priority !== undefined) bytes += 1
  if (record.messageId !== undefined) bytes += textBytes(record.messageId)
  if (record.trace !== undefined) bytes += textBytes(record.trace)
  if (record.contentType !== undefined) bytes += textBytes(record.contentType)
  if (record.retryOf !== undefined) bytes += textBytes(record.retryOf)
  if (record.extra !== undefined) bytes += textBytes(record.extra)
  return bytes
}

function textBytes(text: string): number {
  return text.length + (text.length < 0x80 ? 1 : varintBytes(text.length))
}

function flagsOf(record: RecordInput): number {
  let flags: number = record.qos
  if (record.retain) flags |= bit.retain
  if (record.hops) flags |= bit.hops
  if (record.origin !== undefined) flags |= bit.origin
  if (record.key !== undefined) flags |= bit.key
  if (record.expiresAt !== undefined) flags |= bit.expiresAt
  if (record.priority !== undefined) flags |= bit.priority
  if (record.messageId !== undefined) flags |= bit.messageId
  if (record.trace !== undefined) flags |= bit.trace
  if (record.contentType !== undefined) flags |= bit.contentType
  if (record.retryOf !== undefined) flags |= bit.retryOf
  if (record.extra !== undefined) flags |= bit.extra
  return flags
}

const clampTime = (time: number): number => Math.min(Math.max(Math.floor(time), 0), timeMax)

/** Writes one record; returns where its payload starts in the writer's bytes. */
export function writeRecord(writer: ByteWriter, record: RecordInput): number {
  const flags = flagsOf(record)
  writer.u16(flags)
  writer.u48(clampTime(record.time))
  writer.text(record.topic)
  if (flags > bit.retain + 3) writeOptional(writer, record)
  return writer.blob(record.payload)
}

function writeOptional(writer: ByteWriter, record: RecordInput): void {
  if (record.hops) writer.u8(Math.min(record.hops, 0xff))
  if (record.origin !== undefined) writer.text(record.origin)
  if (record.key !== undefined) writer.text(record.key)
  if (record.expiresAt !== undefined) writer.u48(clampTime(record.expiresAt))
  if (record.priority !== undefined) writer.u8(record.priority)
  if (record.messageId !== undefined) writer.text(record.messageId)
  if (record.trace !== undefined) writer.text(record.trace)
  if (record.contentType !== undefined) writer.text(record.contentType)
  if (record.retryOf !== undefined) writer.text(record.retryOf)
  if (record.extra !== undefined) writer.text(record.extra)
}

/** Reads the record at the reader's position. Throws RangeError when the bytes end early. */
export function readRecord(reader: ByteReader, epoch: Epoch, offset: Offset): LogRecord {
  const flags = reader.u16()
  const time = reader.u48()
  const topic = reader.text()
  const record: Mutable<LogRecord> = { offset, epoch, time, topic, payload: empty, qos: (flags & 3) as Qos }
  if ((flags & bit.retain) !== 0) record.retain = true
  if (flags > bit.retain + 3) readOptional(reader, flags, record)
  record.payload = reader.blob()
  return record
}

function readOptional(reader: ByteReader, flags: number, record: Mutable<LogRecord>): void {
  if ((flags & bit.hops) !== 0) record.hops = reader.u8()
  if ((flags & bit.origin) !== 0) record.origin = reader.text()
  if ((flags & bit.key) !== 0) record.key = reader.text()
  if ((flags & bit.expiresAt) !== 0) record.expiresAt = reader.u48()
  if ((flags & bit.priority) !== 0) record.priority = reader.u8()
  if ((flags & bit.messageId) !== 0) record.messageId = reader.text()
  if ((flags & bit.trace) !== 0) record.trace = reader.text()
  if ((flags & bit.contentType) !== 0) record.contentType = reader.text()
  if ((flags & bit.retryOf) !== 0) record.retryOf = reader.text()
  if ((flags & bit.extra) !== 0) record.extra = reader.text()
}

const empty = Buffer.alloc(0)

/** Passes over a record without making anything of it. */
export function skipRecord(reader: ByteReader): void {
  const flags = reader.u16()
  reader.skip(6)
  reader.skip(reader.varint())
  if (flags > bit.retain + 3) {
    if ((flags & bit.hops) !== 0) reader.skip(1)
    if ((flags & bit.origin) !== 0) reader.skip(reader.varint())
    if ((flags & bit.key) !== 0) reader.skip(reader.varint())
    if ((flags & bit.expiresAt) !== 0) reader.skip(6)
    if ((flags & bit.priority) !== 0) reader.skip(1)
    for (const text of [bit.messageId, bit.trace, bit.contentType, bit.retryOf, bit.extra])
      if ((flags & text) !== 0) reader.skip(reader.varint())
  }
  reader.skip(reader.varint())
}

/** A record as it is read back, made from the input at append; `payload` is shared. */
export function identified(input: RecordInput, epoch: Epoch, offset: Offset): Mutable<LogRecord> {
  const { time, topic, payload, qos } = input
  const record: Mutable<LogRecord> = { offset, epoch, time: clampTime(time), topic, payload, qos }
  if (input.retain) record.retain = true
  if (input.hops) record.hops = Math.min(input.hops, 0xff)
  if (input.origin !== undefined) record.origin = input.origin
  if (input.key !== undefined) record.key = input.key
  if (input.expiresAt !== undefined) record.expiresAt = clampTime(input.expiresAt)
  if (input.priority !== undefined) record.priority = input.priority
  if (input.messageId !== undefined) record.messageId = input.messageId
  if (input.trace !== undefined) record.trace = input.trace
  if (input.contentType !== undefined) record.contentType = input.contentType
  if (input.retryOf !== undefined) record.retryOf = input.retryOf
  if (input.extra !== undefined) record.extra = input.extra
  return record
}

/** A record on its own, for documents that hold one. */
export function encodeRecord(record: RecordInput): Buffer {
  const writer = new ByteWriter(recordBytes(record) + 1)
  writer.u8(version)
  writeRecord(writer, record)
  return writer.result()
}

/** Reverses `encodeRecord`. Throws FESCUE_STORE_DAMAGED on bytes that it did not write. */
export function decodeRecord(bytes: Buffer): RecordInput {
  try {
    const reader = new ByteReader(bytes)
    if (reader.u8() !== version) throw new RangeError(`record version ${bytes[0]} is unknown`)
    const { offset: _offset, epoch: _epoch, ...record } = readRecord(reader, '', 0)
    return record
  } catch (error) {
    throw new FescueError('FESCUE_STORE_DAMAGED', 'a stored record cannot be decoded', { cause: error })
  }
}
