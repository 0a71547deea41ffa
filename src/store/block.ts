/**
 * A block: records with neighbouring offsets that one batch appended to one log, under one key.
 *
 *   version u8 │ flags u8 │ epoch 6 bytes │ count u32 │ crc32 u32 │ records …
 *
 * The CRC covers the key and everything but itself, so a block that was damaged or lies under a wrong key is
 * seen. One block holds at most `blockMaxBytes` (a single larger record has its own): what a flipped bit
 * costs, and what a reader of few records fetches, stays small. A *sparse* block (flag 1; `keep-latest`
 * rewrote it) has the width of what it covers before its records and each record's distance before it.
 */
import { crc32 } from 'node:zlib'
import type { Epoch, Incarnation, Offset } from '#base/ids.ts'
import { ByteReader, ByteWriter } from './bytes.ts'
import { blockKey } from './keys.ts'
import type { LogRecord } from './record.ts'
import { readRecord, recordBytes, skipRecord, writeRecord } from './record-codec.ts'

export const blockMaxBytes = 64 * 1024

const version = 1
const sparseFlag = 1
const headerBytes = 16
const crcAt = 12

export interface EncodedBlock {
  readonly key: Buffer
  readonly value: Buffer
}

/** Encodes records of consecutive offsets. `payloadAt` gets where each payload lies in the block. */
export function encodeBlock(
  incarnation: Incarnation,
  records: readonly LogRecord[],
  bytes: number,
  onPayload: (record: LogRecord, at: number) => void,
): EncodedBlock {
  const first = records[0]
  if (first === undefined) throw new RangeError('a block holds at least one record')
  // The tail cache keeps payloads that lie in it.
  const writer = ByteWriter.outsidePool(headerBytes + bytes)
  writeHeader(writer, first.epoch, records.length, 0)
  for (const record of records) onPayload(record, writeRecord(writer, record))
  return finish(incarnation, first.offset, writer)
}

/** Encodes what is left of [first, end) after some of its records were dropped; may hold no record at all. */
export function encodeSparseBlock(
  incarnation: Incarnation,
  range: { readonly first: Offset; readonly end: Offset; readonly epoch: Epoch },
  records: readonly LogRecord[],
): EncodedBlock {
  const bytes = records.reduce((sum, record) => sum + recordBytes(record) + 4, headerBytes + 8)
  const writer = new ByteWriter(bytes)
  writeHeader(writer, range.epoch, records.length, sparseFlag)
  writer.varint(range.end - range.first)
  for (const record of records) {
    writer.varint(record.offset - range.first)
    writeRecord(writer, record)
  }
  return finish(incarnation, range.first, writer)
}

function writeHeader(writer: ByteWriter, epoch: Epoch, count: number, flags: number): void {
  writer.u8(version)
  writer.u8(flags)
  writer.u48(Number.parseInt(epoch, 16))
  writer.u32(count)
  writer.u32(0)
}

function finish(incarnation: Incarnation, first: Offset, writer: ByteWriter): EncodedBlock {
  const key = blockKey(incarnation, first)
  const value = writer.result()
  value.writeUInt32BE(checksum(key, value), crcAt)
  return { key, value }
}

function checksum(key: Buffer, value: Buffer): number {
  return crc32(value.subarray(headerBytes), crc32(value.subarray(0, crcAt), crc32(key)))
}

/** A block that passed its check, and a position in it. */
export class BlockReader {
  readonly first: Offset
  readonly epoch: Epoch
  readonly count: number
  /** First offset above what the block covers. */
  readonly end: Offset
  /** Whether offsets are missing on purpose. */
  readonly sparse: boolean
  readonly #reader: ByteReader
  #read = 0

  private constructor(first: Offset, epoch: Epoch, count: number, sparse: boolean, reader: ByteReader) {
    this.first = first
    this.epoch = epoch
    this.count = count
    this.sparse = sparse
    this.#reader = reader
    this.end = first + (sparse ? reader.varint() : count)
  }

  /** Opens a block, or returns undefined when it is damaged or of an unknown version. */
  static open(key: Buffer, value: Buffer): BlockReader | undefined {
    if (value.length < headerBytes || value[0] !== version) return undefined
    if (checksum(key, value) !== value.readUInt32BE(crcAt)) return undefined
    const epoch = value.readUIntBE(2, 6).toString(16).padStart(12, '0')
    const sparse = ((value[1] ?? 0) & sparseFlag) !== 0
    const reader = new ByteReader(value, headerBytes)
    return new BlockReader(key.readUIntBE(5, 6), epoch, value.readUInt32BE(8), sparse, reader)
  }

  /** Passes over the records below `offset` without decoding them. */
  skipTo(offset: Offset): void {
    while (this.#read < this.count && this.first + this.#read < offset) {
      if (this.sparse) {
        const before = this.#reader.position
        if (this.first + this.#reader.varint() >= offset) {
          this.#reader.position = before
          return
        }
      }
      skipRecord(this.#reader)
      this.#read += 1
    }
  }

  /** The next record, or undefined at the end. `bytes` is what it counts for. */
  next(): { readonly record: LogRecord; readonly bytes: number } | undefined {
    if (this.#read >= this.count) return undefined
    const distance = this.sparse ? this.#reader.varint() : this.#read
    this.#read += 1
    const start = this.#reader.position
    const record = readRecord(this.#reader, this.epoch, this.first + distance)
    return { record, bytes: this.#reader.position - start }
  }
}
