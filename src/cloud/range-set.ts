/**
 * A bounded set of offsets as ascending, disjoint ranges [from, to): what is missing of a log, and what the
 * loss ledger explains of it.
 *
 * When the set is full its oldest range is forgotten and only counted (`forgotten`), so that a log with
 * endless holes costs a bounded amount (D6).
 */
import type { Offset } from '#base/ids.ts'

export type Range = readonly [from: Offset, to: Offset]

/** Ranges that a set keeps. */
export const rangesMax = 1_000

export interface RangeSetState {
  readonly ranges: readonly Range[]
  readonly forgotten: number
}

export class RangeSet {
  #ranges: Range[]
  #forgotten: number

  constructor(state: RangeSetState = { ranges: [], forgotten: 0 }) {
    this.#ranges = state.ranges.map(([from, to]) => [from, to])
    this.#forgotten = state.forgotten
  }

  /** Offsets in the set, the forgotten ones included. */
  get size(): number {
    let size = this.#forgotten
    for (const [from, to] of this.#ranges) size += to - from
    return size
  }

  get empty(): boolean {
    return this.#ranges.length === 0
  }

  add(from: Offset, to: Offset): void {
    if (from >= to) return
    let low = from
    let high = to
    const kept: Range[] = []
    for (const range of this.#ranges) {
      if (range[1] < low || range[0] > high) kept.push(range)
      else {
        low = Math.min(low, range[0])
        high = Math.max(high, range[1])
      }
    }
    kept.push([low, high])
    kept.sort((a, b) => a[0] - b[0])
    this.#ranges = kept
    this.#bound()
  }

  /** Removes [from, to); returns how many offsets of the set that were. */
  remove(from: Offset, to: Offset): number {
    let removed = 0
    const kept: Range[] = []
    for (const range of this.#ranges) {
      const low = Math.max(range[0], from)
      const high = Math.min(range[1], to)
      if (low >= high) {
        kept.push(range)
        continue
      }
      removed += high - low
      if (range[0] < low) kept.push([range[0], low])
      if (high < range[1]) kept.push([high, range[1]])
    }
    this.#ranges = kept
    this.#bound()
    return removed
  }

  /** Drops all below `offset` without counting it: nobody asks for it again. */
  trim(offset: Offset): void {
    const first = this.#ranges[0]
    if (first !== undefined && first[0] < offset) this.remove(first[0], offset)
  }

  /** The parts of [from, to) that are not in the set. */
  missing(from: Offset, to: Offset): Range[] {
    const holes: Range[] = []
    let at = from
    for (const range of this.#ranges) {
      if (range[1] <= at) continue
      if (range[0] >= to) break
      if (range[0] > at) holes.push([at, range[0]])
      at = range[1]
    }
    if (at < to) holes.push([at, to])
    return holes
  }

  state(): RangeSetState {
    return { ranges: this.#ranges, forgotten: this.#forgotten }
  }

  #bound(): void {
    while (this.#ranges.length > rangesMax) {
      const oldest = this.#ranges.shift()
      if (oldest !== undefined) this.#forgotten += oldest[1] - oldest[0]
    }
  }
}
