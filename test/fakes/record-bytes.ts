/** Records as an isolate writes them, made by hand from the format in base/wire/records.ts. */
import { ByteReader } from '#base/wire/byte-reader.ts'
import { readRecord, type WireRecord } from '#base/wire/records.ts'

const text = (value: string) => {
  const bytes = Buffer.from(value)
  const length = Buffer.alloc(4)
  length.writeUInt32LE(bytes.length)
  return Buffer.concat([length, bytes])
}
const u16 = (value: number) => Buffer.from([value & 255, value >> 8])
const u32 = (value: number) => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}
const f64 = (value: number) => {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleLE(value)
  return bytes
}

export function resultBytes(index: number, value = 'null', durationMs = 0): Buffer {
  return Buffer.concat([
    Buffer.from([1]),
    u32(index),
    f64(1000),
    f64(durationMs),
    text(value),
    u16(3),
    Buffer.concat([Buffer.from([1, 2 | 4]), text('out/x'), text('payload')]),
    Buffer.concat([Buffer.from([2]), text('key'), text('{"n":1}')]),
    Buffer.concat([Buffer.from([3]), text('gone')]),
    u16(1),
    text('read'),
  ])
}
export const failureBytes = (index: number) =>
  Buffer.concat([Buffer.from([2]), u32(index), text('TypeError'), text('no'), Buffer.from([1]), text('at x')])
export const logBytes = (index: number) =>
  Buffer.concat([Buffer.from([3]), u32(index), Buffer.from([1]), text('hello')])
export const readBytes = (index: number) => Buffer.concat([Buffer.from([4]), u32(index), u32(9), text('key')])

export const readAll = (bytes: Buffer): WireRecord[] => {
  const reader = new ByteReader(bytes)
  const records: WireRecord[] = []
  while (!reader.done) records.push(readRecord(reader))
  return records
}
