/**
 * Finds the blocks of a table: by its index, or, when that is gone, by their checksums.
 *
 *   file    block … │ filter │ metaindex │ index │ footer (48 bytes)
 *   footer  metaindex's and index's place (varints), zeros │ magic number, 8 bytes
 *
 * The footer has no checksum, but the index ends where the footer begins: of all single bits one is found that
 * makes this true again. Without an index the blocks are walked: each begins where the one before ended, and ends
 * where its checksum fits. What follows a damaged block is then lost.
 */
import { ByteReader } from '../bytes.ts'
import { step, unmask } from './crc32c.ts'
import type { FileWindow } from './file-window.ts'
import { Findings } from './findings.ts'
import { type BlockHandle, blockEntries, readBlock, readHandle, trailerBytes } from './table-block.ts'

const footerBytes = 48
const magic = Buffer.from('57fb808b247547db', 'hex')
/** A table that is larger is not walked: LevelDB ends one at 2 MiB, and a block has at most 16 MiB. */
const walkMaxBytes = 64 * 1024 * 1024

export interface IndexedBlock extends BlockHandle {
  /** At or above the last key of the block (with LevelDB's eight bytes); unknown after a walk. */
  readonly upTo: Buffer | undefined
}

interface Footer {
  readonly metaindex: BlockHandle
  readonly index: BlockHandle
}

export interface FoundBlocks {
  readonly blocks: readonly IndexedBlock[]
  /** The index could be read; else they were found by walking. */
  readonly isIndexed: boolean
  /** There were no others. */
  readonly isWhole: boolean
}

/** The blocks with data, in order. */
export async function findBlocks(file: FileWindow, findings: Findings): Promise<FoundBlocks> {
  const footer = await readFooter(file, findings)
  const index = footer && (await readBlock(file, footer.index, findings))
  const entries = index && blockEntries(index)
  if (footer === undefined || entries === undefined) return walk(file)
  const blocks: IndexedBlock[] = []
  for (const { key, value } of entries) {
    const handle = readHandle(new ByteReader(value))
    if (handle.offset + handle.size + trailerBytes <= footer.index.offset)
      blocks.push({ ...handle, upTo: key })
  }
  return { blocks, isIndexed: true, isWhole: blocks.length === entries.length }
}

/** Looks at what a reader of data never meets: metaindex and filter. False when one of them is lost. */
export async function checkFilter(file: FileWindow, findings: Findings): Promise<boolean> {
  const footer = await readFooter(file, findings)
  const metaindex = footer && (await readBlock(file, footer.metaindex, findings))
  const entries = metaindex && blockEntries(metaindex)
  if (entries === undefined) return false
  for (const { value } of entries) {
    const { offset, size } = readHandle(new ByteReader(value))
    // A filter is no block of entries, but it lies in the file like one.
    if ((await readBlock(file, { offset, size }, findings)) === undefined) return false
  }
  return true
}

async function readFooter(file: FileWindow, findings: Findings): Promise<Footer | undefined> {
  const start = file.size - footerBytes
  if (start < 0) return undefined
  const bytes = Buffer.from(await file.read(start, footerBytes))
  const flip = (bit: number): void => {
    bytes[bit >>> 3] = (bytes[bit >>> 3] ?? 0) ^ (1 << (bit & 7))
  }
  const found = parseFooter(bytes, start)
  if (found !== undefined) return found
  for (let bit = 0; bit < footerBytes * 8; bit++) {
    flip(bit)
    const mended = parseFooter(bytes, start)
    if (mended !== undefined) {
      findings.flipped(file.path, start + (bit >>> 3), 1 << (bit & 7))
      return mended
    }
    flip(bit)
  }
  return undefined
}

function parseFooter(bytes: Buffer, start: number): Footer | undefined {
  if (!bytes.subarray(-magic.length).equals(magic)) return undefined
  try {
    const reader = new ByteReader(bytes.subarray(0, -magic.length))
    const footer = { metaindex: readHandle(reader), index: readHandle(reader) }
    const isPadded = bytes.subarray(reader.position, -magic.length).every(byte => byte === 0)
    return isPadded && endOf(footer.metaindex) === footer.index.offset && endOf(footer.index) === start
      ? footer
      : undefined
  } catch {
    return undefined
  }
}

const endOf = ({ offset, size }: BlockHandle): number => offset + size + trailerBytes

async function walk(file: FileWindow): Promise<FoundBlocks> {
  const blocks: IndexedBlock[] = []
  const found = (isWhole: boolean): FoundBlocks => ({ blocks, isIndexed: false, isWhole })
  if (file.size > walkMaxBytes) return found(false)
  const bytes = await file.read(0, file.size)
  for (let offset = 0; ; ) {
    const size = sizeOfBlock(bytes, offset)
    if (size === undefined) return found(false)
    const content = await readBlock(file, { offset, size }, new Findings())
    const entries = content && blockEntries(content)
    // With the metaindex the data has ended. The filter before it is no block of entries.
    if (entries?.[0]?.key.toString('latin1').startsWith('filter.')) return found(true)
    if (entries !== undefined && entries.length > 0) blocks.push({ offset, size, upTo: undefined })
    offset += size + trailerBytes
  }
}

/** The size with which a block that begins here has the checksum that follows it. */
function sizeOfBlock(bytes: Buffer, offset: number): number | undefined {
  let state = -1
  for (let at = offset; at + trailerBytes <= bytes.length; at++) {
    const byte = bytes[at] ?? 0
    const after = step(state, byte)
    if (byte <= 1 && ~after >>> 0 === unmask(bytes.readUInt32LE(at + 1))) return at - offset
    state = after
  }
  return undefined
}
