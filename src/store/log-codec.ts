/** What is stored of a log besides its records: descriptor, mark and spans. */
import type { Incarnation } from '#base/ids.ts'
import { ByteReader, ByteWriter } from './bytes.ts'
import type { LogLimits } from './commit-log.ts'
import type { LogMark } from './log.ts'
import type { Span } from './spans.ts'

const version = 1

/** JSON under the log's name, and a copy under its incarnation: losing one costs nothing. */
export interface LogDescriptor {
  readonly name: string
  readonly incarnation: Incarnation
  readonly limits: LogLimits
}

export function encodeMark(mark: LogMark, open: Span | undefined): Buffer {
  const writer = new ByteWriter(64)
  writer.u8(version)
  writer.u48(mark.head)
  writer.u48(mark.end)
  writer.u48(mark.trimmed)
  if (open !== undefined) writeSpan(writer, open)
  return writer.result()
}

export function decodeMark(bytes: Buffer): { mark: LogMark; open: Span | undefined } {
  const reader = new ByteReader(bytes)
  if (reader.u8() !== version) throw new RangeError('unknown version of a mark')
  const mark = { head: reader.u48(), end: reader.u48(), trimmed: reader.u48() }
  return { mark, open: reader.atEnd ? undefined : readSpan(reader) }
}

export function encodeSpan(span: Span): Buffer {
  const writer = new ByteWriter(48)
  writeSpan(writer, span)
  return writer.result()
}

export function decodeSpan(bytes: Buffer): Span {
  return readSpan(new ByteReader(bytes))
}

function writeSpan(writer: ByteWriter, span: Span): void {
  writer.u48(span.key)
  writer.varint(span.first - span.key)
  writer.varint(span.records)
  writer.varint(span.bytes)
  writer.u48(span.oldest)
  writer.varint(span.newest - span.oldest)
}

function readSpan(reader: ByteReader): Span {
  const key = reader.u48()
  const first = key + reader.varint()
  const records = reader.varint()
  const bytes = reader.varint()
  const oldest = reader.u48()
  return { key, first, records, bytes, oldest, newest: oldest + reader.varint() }
}
