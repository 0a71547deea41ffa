/** What a lane has in hand: a chunk (or one item), its deadline, and what is pending for it. */
import type { IsolateItems } from '#base/wire/items.ts'
import type { Lane } from './lane.ts'

export interface Answer {
  readonly call: number
  readonly found: boolean
  readonly text: string
}

/** Why the isolate of a flight was disposed. */
export type Fate =
  | { readonly kind: 'none' }
  | { readonly kind: 'expired'; readonly index: number }
  | { readonly kind: 'flooded' }

export class Flight {
  readonly lane: Lane
  readonly items: IsolateItems
  /** State version when it started (side by side). */
  readonly snapshot: number
  /** Items of the chunk whose results went out. */
  released = 0
  answers: Answer[] = []
  fate: Fate = { kind: 'none' }
  /** Real time at which the entry under way began, on the monotonic clock. */
  enteredAt = 0
  #timer: NodeJS.Timeout | undefined
  #watchedIndex = -2
  #usedMs = 0

  constructor(lane: Lane, items: IsolateItems, snapshot: number) {
    this.lane = lane
    this.items = items
    this.snapshot = snapshot
  }

  /** Index in the batch of the first item whose result did not go out. */
  get nextIndex(): number {
    return this.items.first + this.released
  }

  /** Time passes; another item in the handler starts from zero. Gives what its time limit has left, in ms. */
  use(elapsedMs: number, timeoutMs: number): { leftMs: number; moved: boolean } {
    const index = this.lane.current
    const moved = index !== this.#watchedIndex
    if (moved) {
      this.#watchedIndex = index
      this.#usedMs = 0
    } else this.#usedMs += elapsedMs
    return { leftMs: timeoutMs - this.#usedMs, moved }
  }

  wakeLater(delayMs: number, wake: () => void): void {
    this.stopTimer()
    this.#timer = setTimeout(wake, Math.min(Math.max(delayMs, 0), 2 ** 31 - 1))
  }

  stopTimer(): void {
    clearTimeout(this.#timer)
  }
}

/**
 * Time passes for all: which are over, and where the one with the least time left stands. While `head` computes, the others
 * cannot go on: their time stands still.
 */
export function worstOf(
  flights: Iterable<Flight>,
  head: Flight | undefined,
  elapsedMs: number,
  timeoutMs: number,
): {
  readonly expired: readonly Flight[]
  readonly progress: { readonly index: number; readonly leftMs: number; readonly moved: boolean } | undefined
} {
  const expired: Flight[] = []
  let progress: { index: number; leftMs: number; moved: boolean } | undefined
  for (const flight of flights) {
    const waits = head !== undefined && head !== flight
    const { leftMs, moved } = flight.use(waits ? 0 : elapsedMs, timeoutMs)
    if (leftMs <= 0) expired.push(flight)
    if (progress === undefined || leftMs < progress.leftMs)
      progress = { index: flight.lane.current, leftMs, moved: moved || waits }
  }
  return { expired, progress }
}
