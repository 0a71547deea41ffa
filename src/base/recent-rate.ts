/** How many a second of late: the last minute in a ring of buckets of ten seconds, whatever the rate (D6). */
import type { Clock } from './clock.ts'

const bucketMs = 10_000
const buckets = 6
/** A burst that has just begun is not yet a rate. */
const spanMinMs = 1_000

export class RecentRate {
  readonly #clock: Clock
  readonly #counts = new Array<number>(buckets).fill(0)
  #current: number
  /** When the first of an otherwise empty minute came. */
  #sinceMs = 0

  constructor(clock: Clock) {
    this.#clock = clock
    this.#current = this.#bucketNow()
  }

  add(amount: number): void {
    this.#turn()
    if (this.#total() === 0) this.#sinceMs = this.#clock.monotonic()
    const index = this.#current % buckets
    this.#counts[index] = (this.#counts[index] ?? 0) + amount
  }

  /** 0 when there were none in the last minute. */
  get perSecond(): number {
    this.#turn()
    const now = this.#clock.monotonic()
    const windowMs = now - (this.#current - 2 * buckets + 1) * bucketMs
    const spanMs = Math.max(spanMinMs, Math.min(windowMs, now - this.#sinceMs))
    return (this.#total() * 1_000) / spanMs
  }

  #total(): number {
    return this.#counts.reduce((sum, each) => sum + each, 0)
  }

  #turn(): void {
    const now = this.#bucketNow()
    for (let passed = Math.min(now - this.#current, buckets); passed > 0; passed--)
      this.#counts[(now - passed + 1) % buckets] = 0
    this.#current = now
  }

  /** Never below the number of buckets, so that an index is never negative. */
  #bucketNow(): number {
    return Math.floor(this.#clock.monotonic() / bucketMs) + buckets
  }
}
