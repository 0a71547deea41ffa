/**
 * One batch as the journal keeps it.
 *
 *   length u32 │ crc32 u32 │ batch number u48 │ part u8 │ operations (or a part of them)
 *
 * The CRC covers all after it and is seeded with the generation of the segment, so a frame that a recycled
 * segment still holds from an earlier life never passes. A batch larger than a segment is several frames.
 */
import { crc32 } from 'node:zlib'
import type { BackendOperation } from './backend.ts'
import { ByteReader, putU48, varintBytes } from './bytes.ts'

export const frameHeaderBytes = 15
const crcAt = 4
const checkedFrom = 8

/** Bits of `part`. */
const startsBatch = 1
const endsBatch = 2

export interface Frame {
  readonly number: number
  readonly starts: boolean
  readonly ends: boolean
  readonly payload: Buffer
  /** Bytes of the frame with its header. */
  readonly bytes: number
}

export function seedOf(generation: number): number {
  const bytes = Buffer.alloc(6)
  putU48(bytes, 0, generation)
  return crc32(bytes)
}

/** Writes the header before a payload that is in place already. */
export function sealFrame(
  target: Buffer,
  at: number,
  frame: { number: number; starts: boolean; ends: boolean; payloadBytes: number },
  seed: number,
): void {
  target.writeUInt32BE(frame.payloadBytes, at)
  putU48(target, at + checkedFrom, frame.number)
  target[at + 14] = (frame.starts ? startsBatch : 0) | (frame.ends ? endsBatch : 0)
  const end = at + frameHeaderBytes + frame.payloadBytes
  target.writeUInt32BE(crc32(target.subarray(at + checkedFrom, end), seed), at + crcAt)
}

/** The frame at a position, or undefined when there is none that belongs here. */
export function readFrame(bytes: Buffer, at: number, seed: number): Frame | undefined {
  if (at + frameHeaderBytes > bytes.length) return undefined
  const payloadBytes = bytes.readUInt32BE(at)
  const end = at + frameHeaderBytes + payloadBytes
  if (payloadBytes === 0 || end > bytes.length) return undefined
  if (crc32(bytes.subarray(at + checkedFrom, end), seed) !== bytes.readUInt32BE(at + crcAt)) return undefined
  const part = bytes[at + 14] ?? 0
  return {
    number: bytes.readUIntBE(at + checkedFrom, 6),
    starts: (part & startsBatch) !== 0,
    ends: (part & endsBatch) !== 0,
    payload: bytes.subarray(at + frameHeaderBytes, end),
    bytes: end - at,
  }
}

export function operationsBytes(operations: readonly BackendOperation[]): number {
  let bytes = 0
  for (const operation of operations) {
    bytes += 1 + varintBytes(operation.key.length) + operation.key.length
    if (operation.type === 'put') bytes += varintBytes(operation.value.length) + operation.value.length
  }
  return bytes
}

/** Writes operations; returns where they end. */
export function writeOperations(target: Buffer, at: number, operations: readonly BackendOperation[]): number {
  let position = at
  for (const operation of operations) {
    target[position++] = operation.type === 'put' ? 1 : 0
    position = writeBlob(target, position, operation.key)
    if (operation.type === 'put') position = writeBlob(target, position, operation.value)
  }
  return position
}

function writeBlob(target: Buffer, at: number, blob: Buffer): number {
  let position = at
  let rest = blob.length
  while (rest > 0x7f) {
    target[position++] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  target[position++] = rest
  target.set(blob, position)
  return position + blob.length
}

export function readOperations(payload: Buffer): BackendOperation[] {
  const reader = new ByteReader(payload)
  const operations: BackendOperation[] = []
  while (!reader.atEnd) {
    const type = reader.u8()
    const key = reader.blob()
    operations.push(type === 1 ? { type: 'put', key, value: reader.blob() } : { type: 'del', key })
  }
  return operations
}
