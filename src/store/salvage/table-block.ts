/**
 * A block of a LevelDB table, as it lies in the file and unpacked.
 *
 *   file      data │ type u8 (0 as it is, 1 snappy) │ crc32c u32 of data and type, masked
 *   unpacked  entry … │ restart u32 … │ number of restarts u32
 *   entry     shared │ unshared │ value length (varints) │ unshared bytes of the key │ value
 *
 * A key begins with as many bytes of the key before it as `shared` says.
 */
import { ByteReader } from '../bytes.ts'
import { check } from './crc32c.ts'
import type { FileWindow } from './file-window.ts'
import type { Findings } from './findings.ts'
import { unpack } from './snappy.ts'

export interface BlockHandle {
  readonly offset: number
  /** Bytes of the data, without type and checksum. */
  readonly size: number
}

export interface RawEntry {
  readonly key: Buffer
  readonly value: Buffer
}

/** Type and checksum. */
export const trailerBytes = 5

/** Reads a block, sets a flipped bit right (in memory), and unpacks it; undefined when it is beyond that. */
export async function readBlock(
  file: FileWindow,
  { offset, size }: BlockHandle,
  findings: Findings,
): Promise<Buffer | undefined> {
  findings.blocks += 1
  if (offset + size + trailerBytes > file.size) return undefined
  const bytes = await file.read(offset, size + trailerBytes)
  const covered = bytes.subarray(0, size + 1)
  const result = check(covered, bytes.readUInt32LE(size + 1))
  if (result.kind === 'damaged') return undefined
  const right = Buffer.from(covered)
  if (result.kind === 'flipped') {
    const { at, mask } = result.flip
    findings.flipped(file.path, offset + at, mask)
    right[at] = (right[at] ?? 0) ^ mask
  } else if (result.kind === 'checksum-flipped') {
    findings.flipped(file.path, offset + size + 1 + result.flip.at, result.flip.mask)
  }
  return unpacked(right)
}

function unpacked(covered: Buffer): Buffer | undefined {
  const data = covered.subarray(0, -1)
  const type = covered.at(-1)
  if (type === 0) return data
  if (type !== 1) return undefined
  try {
    return unpack(data)
  } catch {
    return undefined
  }
}

/** The entries of an unpacked block; undefined when it is none. Values are views, keys are copies. */
export function blockEntries(block: Buffer): RawEntry[] | undefined {
  if (block.length < 4) return undefined
  const restarts = block.readUInt32LE(block.length - 4)
  const end = block.length - 4 - restarts * 4
  if (end < 0) return undefined
  const reader = new ByteReader(block.subarray(0, end))
  const entries: RawEntry[] = []
  let before = Buffer.alloc(0)
  try {
    while (!reader.atEnd) {
      const shared = reader.varint()
      const unshared = reader.varint()
      const valueBytes = reader.varint()
      if (shared > before.length) return undefined
      const key = Buffer.concat([before.subarray(0, shared), reader.raw(unshared)])
      entries.push({ key, value: reader.raw(valueBytes) })
      before = key
    }
  } catch {
    return undefined
  }
  return entries
}

export function readHandle(reader: ByteReader): BlockHandle {
  return { offset: reader.varint(), size: reader.varint() }
}
