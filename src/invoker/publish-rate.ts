/**
 * The publish rate of a function: a bucket of one second that fills at `perSecond`. It bounds loops that go
 * through clients outside, where hops are lost. A run is never cut: the next one waits until the debt is paid.
 */
import type { Clock } from '#base/clock.ts'

export class PublishRate {
  readonly #clock: Clock
  #perSecond: number
  #tokens: number
  #filledAt: number

  constructor(clock: Clock, perSecond: number) {
    this.#clock = clock
    this.#perSecond = perSecond
    this.#tokens = perSecond
    this.#filledAt = clock.monotonic()
  }

  /** Another revision: another rate, and no debt. */
  set perSecond(value: number) {
    this.#perSecond = value
    this.#tokens = value
  }

  spend(messages: number): void {
    this.#tokens -= messages
  }

  /** Milliseconds until the function may run. */
  waitMs(): number {
    if (this.#tokens >= 0) return 0
    const now = this.#clock.monotonic()
    this.#tokens = Math.min(
      this.#perSecond,
      this.#tokens + ((now - this.#filledAt) / 1_000) * this.#perSecond,
    )
    this.#filledAt = now
    return this.#tokens >= 0 ? 0 : Math.ceil((-this.#tokens / this.#perSecond) * 1_000)
  }
}
