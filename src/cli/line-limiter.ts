/**
 * Keeps a screen calm: lines of one kind appear at most once in an interval, and say how many of them were left
 * out. A fresh kind appears at once, within a ceiling for all kinds together.
 */
import type { Clock } from '#base/clock.ts'

export interface LineLimits {
  /** Least time between two lines of one kind. */
  readonly repeatMs: number
  /** Lines of all kinds in any second. */
  readonly linesPerSecondMax: number
}

interface Kind {
  shownAt: number
  skipped: number
}

/** Kinds that are remembered; the one not shown for longest is forgotten first. */
export const kindsMax = 1_000

export class LineLimiter {
  readonly #clock: Clock
  readonly #limits: LineLimits
  readonly #kinds = new Map<string, Kind>()
  #second = 0
  #linesInSecond = 0

  constructor(clock: Clock, limits: LineLimits) {
    this.#clock = clock
    this.#limits = limits
  }

  /** Number of lines of this kind left out since the last one shown, or undefined when this one is left out too. */
  admit(name: string): number | undefined {
    const now = this.#clock.monotonic()
    const kind = this.#kinds.get(name)
    const early = kind !== undefined && now - kind.shownAt < this.#limits.repeatMs
    if (early || !this.#withinCeiling(now)) {
      this.#remember(name, {
        shownAt: kind?.shownAt ?? Number.NEGATIVE_INFINITY,
        skipped: (kind?.skipped ?? 0) + 1,
      })
      return undefined
    }
    this.#kinds.delete(name)
    this.#remember(name, { shownAt: now, skipped: 0 })
    return kind?.skipped ?? 0
  }

  #withinCeiling(now: number): boolean {
    const second = Math.floor(now / 1_000)
    if (second !== this.#second) {
      this.#second = second
      this.#linesInSecond = 0
    }
    if (this.#linesInSecond >= this.#limits.linesPerSecondMax) return false
    this.#linesInSecond += 1
    return true
  }

  #remember(name: string, kind: Kind): void {
    this.#kinds.set(name, kind)
    if (this.#kinds.size <= kindsMax) return
    const oldest = this.#kinds.keys().next()
    if (!oldest.done) this.#kinds.delete(oldest.value)
  }
}
