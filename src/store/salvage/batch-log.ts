/**
 * LevelDB's log files: batches that are in no table yet (`*.log`), and the edits of a manifest.
 *
 *   file    blocks of 32 KiB, each with pieces; what does not hold a head at the end of a block is zeros
 *   piece   crc32c u32 of type and data, masked │ length u16 │ type u8 (1 all, 2 first, 3 middle, 4 last) │ data
 *
 * The length has no checksum of its own: of its single bits one is found with which the checksum fits. A damaged
 * piece costs what is left of its block, because where the next one begins is not known; half records are dropped.
 */
import { type Check, check } from './crc32c.ts'
import { FileWindow } from './file-window.ts'
import type { Findings } from './findings.ts'

const blockBytes = 32 * 1024
const headBytes = 7
const pieceType = { all: 1, first: 2, middle: 3, last: 4 } as const

interface Piece {
  readonly type: number
  readonly data: Buffer
}

/** The records of a log in order. `onLost` gets bytes that cannot be read; an end that was cut off is no damage. */
export async function* logRecords(
  path: string,
  findings: Findings,
  onLost: (bytes: number) => void,
): AsyncGenerator<Buffer> {
  const file = await FileWindow.open(path)
  let parts: Buffer[] = []
  try {
    for (let from = 0; from < file.size; from += blockBytes) {
      const block = await file.read(from, blockBytes)
      for (const piece of pieces(block, from, file, findings, onLost)) {
        if (piece === undefined) parts = []
        else if (piece.type === pieceType.all) yield piece.data
        else if (piece.type === pieceType.first) parts = [piece.data]
        else if (parts.length > 0) {
          parts.push(piece.data)
          if (piece.type !== pieceType.last) continue
          yield Buffer.concat(parts)
          parts = []
        }
      }
    }
  } finally {
    await file.close()
  }
}

/** The pieces of a block; undefined stands for those that are lost. */
function* pieces(
  block: Buffer,
  from: number,
  file: FileWindow,
  findings: Findings,
  onLost: (bytes: number) => void,
): Generator<Piece | undefined> {
  for (let at = 0; at + headBytes <= block.length; ) {
    const head = block.subarray(at, at + headBytes)
    if (head.every(byte => byte === 0)) return // Room that was never written.
    const found = readPiece(block, at)
    if (found === undefined) {
      // The last block may end in the middle of a write.
      if (from + block.length < file.size || at + headBytes + head.readUInt16LE(4) <= block.length) {
        onLost(block.length - at)
      }
      yield undefined
      return
    }
    for (const flip of found.flips) findings.flipped(file.path, from + at + flip.at, flip.mask)
    yield found.piece
    at += headBytes + found.piece.data.length
  }
}

interface FoundPiece {
  readonly piece: Piece
  /** Counted from the head. */
  readonly flips: readonly { readonly at: number; readonly mask: number }[]
}

function readPiece(block: Buffer, at: number): FoundPiece | undefined {
  const length = block.readUInt16LE(at + 4)
  const result = checkPiece(block, at, length)
  switch (result.kind) {
    case 'whole':
      return { piece: pieceOf(block, at, length), flips: [] }
    case 'flipped': {
      const mended = Buffer.from(block)
      const place = at + 6 + result.flip.at
      mended[place] = (mended[place] ?? 0) ^ result.flip.mask
      return {
        piece: pieceOf(mended, at, length),
        flips: [{ at: 6 + result.flip.at, mask: result.flip.mask }],
      }
    }
    case 'checksum-flipped':
      return { piece: pieceOf(block, at, length), flips: [result.flip] }
    case 'damaged':
      break
  }
  for (let bit = 0; bit < 16; bit++) {
    const other = length ^ (1 << bit)
    if (checkPiece(block, at, other).kind !== 'whole') continue
    return { piece: pieceOf(block, at, other), flips: [{ at: 4 + (bit >>> 3), mask: 1 << (bit & 7) }] }
  }
  return undefined
}

function checkPiece(block: Buffer, at: number, length: number): Check {
  if (at + headBytes + length > block.length) return { kind: 'damaged' }
  return check(block.subarray(at + 6, at + headBytes + length), block.readUInt32LE(at))
}

const pieceOf = (block: Buffer, at: number, length: number): Piece => ({
  type: block[at + 6] ?? 0,
  data: block.subarray(at + headBytes, at + headBytes + length),
})
