/**
 * How far a consumer is (D3): a low offset below which all is done, a bounded set of done ranges above it,
 * and what is in retry.
 *
 *   done done done │ open │ done done │ open ...
 *                 low      ranges[0]
 *
 * `low` never passes a record that is not done. When the set of ranges is full, `complete` still counts but
 * `full` says so and the owner dispatches nothing new above it.
 */
import type { Offset } from '#base/ids.ts'

/** [from, to) pairs, ascending, disjoint, all above `low`. */
export type DoneRange = readonly [from: Offset, to: Offset]

export interface RetryState {
  readonly offset: Offset
  /** Attempts used so far. */
  readonly attempts: number
  /** Milliseconds since the epoch of the next try. */
  readonly nextAt: number
}

/** What is stored of a consumer. */
export interface CheckpointState {
  readonly low: Offset
  readonly done: readonly DoneRange[]
  readonly retries: readonly RetryState[]
}

/** Done ranges that a checkpoint may hold above its low offset. */
export const doneRangesMax = 1_024
/** Records in retry that a checkpoint may hold. */
export const retriesMax = 256

/** The working copy of a checkpoint; `state()` gives what to store. */
export class Checkpoint {
  #low: Offset
  /** Ascending, disjoint, not touching. */
  readonly #done: [Offset, Offset][]
  readonly #retries = new Map<Offset, RetryState>()

  constructor(state: CheckpointState) {
    this.#low = state.low
    this.#done = state.done.map(([from, to]) => [from, to])
    for (const retry of state.retries) this.#retries.set(retry.offset, retry)
  }

  get low(): Offset {
    return this.#low
  }

  get full(): boolean {
    return this.#done.length >= doneRangesMax || this.#retries.size >= retriesMax
  }

  isDone(offset: Offset): boolean {
    if (offset < this.#low) return true
    return this.#done.some(([from, to]) => offset >= from && offset < to)
  }

  /** The first offset at or above `from` that is not done. */
  nextOpen(from: Offset): Offset {
    let offset = Math.max(from, this.#low)
    for (const [start, end] of this.#done) {
      if (offset < start) break
      if (offset < end) offset = end
    }
    return offset
  }

  /** Marks [from, to) done; ranges below `low` are ignored. */
  complete(from: Offset, to: Offset = from + 1): void {
    if (this.#retries.size > 0)
      for (const offset of this.#retries.keys())
        if (offset >= from && offset < to) this.#retries.delete(offset)
    if (to <= this.#low) return
    if (from <= this.#low) {
      this.#low = to
    } else {
      this.#insert(from, to)
    }
    this.#absorb()
  }

  /** Moves `low` up to at least `offset`: what lies below is gone from the log. */
  skipTo(offset: Offset): void {
    if (offset > this.#low) this.complete(this.#low, offset)
  }

  retry(state: RetryState): void {
    this.#retries.set(state.offset, state)
  }

  retryOf(offset: Offset): RetryState | undefined {
    return this.#retries.get(offset)
  }

  retries(): Iterable<RetryState> {
    return this.#retries.values()
  }

  state(): CheckpointState {
    return {
      low: this.#low,
      done: this.#done.map(([from, to]) => [from, to] as const),
      retries: [...this.#retries.values()],
    }
  }

  #insert(from: Offset, to: Offset): void {
    const done = this.#done
    const last = done.at(-1)
    if (last !== undefined && from === last[1]) {
      last[1] = to
      return
    }
    let start = 0
    while (start < done.length && (done[start]?.[1] ?? 0) < from) start++
    let end = start
    let low = from
    let high = to
    while (end < done.length && (done[end]?.[0] ?? 0) <= to) {
      low = Math.min(low, done[end]?.[0] ?? low)
      high = Math.max(high, done[end]?.[1] ?? high)
      end++
    }
    done.splice(start, end - start, [low, high])
  }

  #absorb(): void {
    while (this.#done.length > 0 && (this.#done[0]?.[0] ?? 0) <= this.#low) {
      const first = this.#done.shift()
      if (first !== undefined) this.#low = Math.max(this.#low, first[1])
    }
  }
}
