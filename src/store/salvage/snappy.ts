/**
 * Unpacks what snappy packed, as LevelDB does with the blocks of its tables. The form: a varint with the length,
 * then pieces, each a literal or a copy of what was unpacked before.
 */
import { ByteReader } from '../bytes.ts'

/** No block of a table is larger: a transaction may have 16 MiB, and one entry more ends the block. */
const unpackedMaxBytes = 64 * 1024 * 1024

/** Throws RangeError for bytes that are not snappy's. */
export function unpack(packed: Buffer): Buffer {
  const reader = new ByteReader(packed)
  const length = reader.varint()
  if (length > unpackedMaxBytes) throw new RangeError('unpacked block is too large')
  const unpacked = Buffer.allocUnsafe(length)
  let at = 0
  while (!reader.atEnd) {
    const tag = reader.u8()
    if ((tag & 3) === 0) at = literal(reader, tag >>> 2, unpacked, at)
    else at = copy(unpacked, at, ...copyOf(reader, tag))
  }
  if (at !== length) throw new RangeError('unpacked bytes end early')
  return unpacked
}

/** Up to 60 bytes say their length in the tag; more in one to four bytes after it. */
function literal(reader: ByteReader, code: number, unpacked: Buffer, at: number): number {
  const bytes = reader.raw((code < 60 ? code : littleEndian(reader, code - 59)) + 1)
  if (at + bytes.length > unpacked.length) throw new RangeError('literal reaches beyond the end')
  unpacked.set(bytes, at)
  return at + bytes.length
}

function copyOf(reader: ByteReader, tag: number): [length: number, distance: number] {
  if ((tag & 3) === 1) return [((tag >>> 2) & 7) + 4, ((tag >>> 5) << 8) | reader.u8()]
  return [(tag >>> 2) + 1, littleEndian(reader, (tag & 3) === 2 ? 2 : 4)]
}

/** Byte by byte where the copy overlaps itself: that is how snappy repeats. */
function copy(unpacked: Buffer, at: number, length: number, distance: number): number {
  if (distance === 0 || distance > at || at + length > unpacked.length) {
    throw new RangeError('copy reaches beyond what is there')
  }
  if (distance >= length) unpacked.copyWithin(at, at - distance, at - distance + length)
  else for (let index = at; index < at + length; index++) unpacked[index] = unpacked[index - distance] ?? 0
  return at + length
}

function littleEndian(reader: ByteReader, bytes: number): number {
  let value = 0
  for (let index = 0; index < bytes; index++) value += reader.u8() * 256 ** index
  return value
}
