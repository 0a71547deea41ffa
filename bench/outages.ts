/** The rate that was held through kills: over all of the time, and over the time in which nothing was down. */

interface Outage {
  readonly from: number
  to: number | undefined
}

export class Outages {
  readonly #all: Outage[] = []
  readonly #now: () => number
  readonly #startedAt: number
  #delivered = 0
  /** Deliveries while something was down: between a kill and the first delivery after it was up again. */
  #inside = 0
  #up = true
  #endedAt: number | undefined

  /** `now`: a monotonic clock in ms. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
    this.#startedAt = now()
  }

  /** A process is about to be killed. Before the outage of an earlier one is over, that one goes on. */
  down(): void {
    const last = this.#all.at(-1)
    if (last === undefined || last.to !== undefined) this.#all.push({ from: this.#now(), to: undefined })
    this.#up = false
  }

  /** It was started again; the next delivery ends the outage. */
  up(): void {
    this.#up = true
  }

  delivered(): void {
    if (this.#endedAt !== undefined) return
    this.#delivered += 1
    const last = this.#all.at(-1)
    if (last === undefined || last.to !== undefined) return
    this.#inside += 1
    if (this.#up) last.to = this.#now()
  }

  end(): void {
    this.#endedAt = this.#now()
  }

  get rates(): { perSecond: number; betweenPerSecond: number; outageP50Ms: number } {
    const end = this.#endedAt ?? this.#now()
    const lengths = this.#all.map(({ from, to }) => (to ?? end) - from)
    const downMs = lengths.reduce((sum, each) => sum + each, 0)
    const totalMs = end - this.#startedAt
    return {
      perSecond: Math.round((this.#delivered / totalMs) * 1000),
      betweenPerSecond: Math.round(((this.#delivered - this.#inside) / Math.max(1, totalMs - downMs)) * 1000),
      outageP50Ms: Math.round(lengths.toSorted((a, b) => a - b)[lengths.length >> 1] ?? 0),
    }
  }
}
