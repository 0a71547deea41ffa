/** A clock that stands still until a test turns it. */
import type { Clock } from '#base/clock.ts'

interface Alarm {
  readonly at: number
  readonly callback: () => void
}

export class ManualClock implements Clock {
  #now: number
  #monotonic = 0
  #alarms: Alarm[] = []

  constructor(now = 1_700_000_000_000) {
    this.#now = now
  }

  now(): number {
    return this.#now
  }

  monotonic(): number {
    return this.#monotonic
  }

  after(delayMs: number, callback: () => void): () => void {
    const alarm = { at: this.#monotonic + Math.max(0, delayMs), callback }
    this.#alarms.push(alarm)
    return () => {
      this.#alarms = this.#alarms.filter(other => other !== alarm)
    }
  }

  /** Alarms that are set. */
  get alarms(): number {
    return this.#alarms.length
  }

  /** Moves on and rings what is due, in order. */
  advance(ms: number): void {
    const end = this.#monotonic + ms
    for (;;) {
      const due = this.#alarms.filter(alarm => alarm.at <= end).sort((a, b) => a.at - b.at)[0]
      if (due === undefined) break
      this.#alarms = this.#alarms.filter(alarm => alarm !== due)
      this.#now += due.at - this.#monotonic
      this.#monotonic = due.at
      due.callback()
    }
    this.#now += end - this.#monotonic
    this.#monotonic = end
  }

  /** Sets the wall clock alone, as NTP does. */
  jumpTo(now: number): void {
    this.#now = now
  }
}
