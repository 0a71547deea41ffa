/** A clock that stands until it is turned; what is due is called in order of time. */
import type { Clock } from '#base/clock.ts'

export class TurnableClock implements Clock {
  #wall: number
  #elapsed = 0
  #timers: { readonly at: number; readonly callback: () => void }[] = []

  constructor(wall: number = Date.UTC(2030, 0, 1)) {
    this.#wall = wall
  }

  now(): number {
    return this.#wall
  }

  monotonic(): number {
    return this.#elapsed
  }

  after(delayMs: number, callback: () => void): () => void {
    const timer = { at: this.#elapsed + Math.max(0, delayMs), callback }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter(other => other !== timer)
    }
  }

  /** Lets time pass. */
  turn(ms: number): void {
    const until = this.#elapsed + ms
    for (;;) {
      const due = this.#timers.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0]
      const step = (due?.at ?? until) - this.#elapsed
      this.#elapsed += step
      this.#wall += step
      if (due === undefined) return
      this.#timers = this.#timers.filter(timer => timer !== due)
      due.callback()
    }
  }

  /** Sets the wall clock alone, as NTP does. */
  jumpTo(wall: number): void {
    this.#wall = wall
  }
}
