/** What is found wrong while a database is read: counted, and the flipped bits by their place in a file. */

/** A bit of a file that is to be flipped back. */
export interface FileFlip {
  readonly path: string
  readonly at: number
  readonly mask: number
}

/** Places remembered; a database with more flipped bits than these is rebuilt, not mended in place. */
export const flipsMax = 1_000

export class Findings {
  /** Blocks of tables that were looked at. */
  blocks = 0
  /** Flipped bits that were found out and set right. */
  mendedBits = 0
  readonly flips: FileFlip[] = []
  /** Blocks that cannot be read, and their bytes in the file. */
  lostBlocks = 0
  lostBytes = 0
  /** Lost blocks that held more than blocks of logs: those are seen by their offsets, these by nothing. */
  lostMixedBlocks = 0

  flipped(path: string, at: number, mask: number): void {
    this.mendedBits += 1
    if (this.flips.length < flipsMax) this.flips.push({ path, at, mask })
  }

  lost(bytes: number, isMixed: boolean): void {
    this.lostBlocks += 1
    this.lostBytes += bytes
    if (isMixed) this.lostMixedBlocks += 1
  }
}
