/**
 * The circuit breaker of a function: after `failuresToOpen` failures in a row it runs only as a probe.
 *
 *   closed ──7 failures in a row──► open ──wait 1 s … 1 min──► half-open (one message)
 *     ▲                               ▲                              │
 *     └────────── success ────────────┼──────────── success ─────────┤
 *                                     └──────────── failure ─────────┘
 *
 * It takes more where a record has more than three attempts: one or two bad records alone never open it. With concurrency n it takes n
 * times as many: a few bad records at the heads of their order keys end each other's runs, and a function that is
 * well must not look as if it always failed.
 */
import type { Clock } from '#base/clock.ts'

export type BreakerState =
  | { readonly kind: 'closed'; readonly failures: number }
  /** `until` in ms of the monotonic clock. */
  | { readonly kind: 'open'; readonly until: number }
  | { readonly kind: 'half-open' }

export const failuresToOpen = 7
const probeInitialMs = 1_000
const probeMaxMs = 60_000

export class Breaker {
  readonly #clock: Clock
  readonly #random: () => number
  #state: BreakerState = { kind: 'closed', failures: 0 }
  #probes = 0
  #toOpen = failuresToOpen

  constructor(clock: Clock, random: () => number) {
    this.#clock = clock
    this.#random = random
  }

  get state(): BreakerState {
    return this.#state
  }

  /** Failures in a row while closed; the number that opens it and more afterwards. */
  get failures(): number {
    return this.#state.kind === 'closed' ? this.#state.failures : this.#toOpen + this.#probes
  }

  /** Milliseconds until a probe may run; 0 when something may run now. */
  waitMs(): number {
    if (this.#state.kind !== 'open') return 0
    const leftMs = this.#state.until - this.#clock.monotonic()
    if (leftMs > 0) return leftMs
    this.#state = { kind: 'half-open' }
    return 0
  }

  succeeded(): void {
    if (this.#state.kind === 'closed' && this.#state.failures === 0) return
    this.#state = { kind: 'closed', failures: 0 }
    this.#probes = 0
  }

  failed(): void {
    if (this.#state.kind === 'closed') {
      const failures = this.#state.failures + 1
      if (failures < this.#toOpen) this.#state = { kind: 'closed', failures }
      else this.#open()
    } else if (this.#state.kind === 'half-open') {
      this.#open()
    }
  }

  /** Opens at once: the code does not load, so that no message can succeed. */
  trip(): void {
    if (this.#state.kind !== 'open') this.#open()
  }

  /** Another revision: nothing is known of it. `attempts` are those that one record has. */
  reset({ concurrency, attempts }: { concurrency: number; attempts: number }): void {
    this.#toOpen = Math.max(failuresToOpen, 2 * attempts + 1) * concurrency
    this.succeeded()
  }

  #open(): void {
    const ceiling = Math.min(probeMaxMs, probeInitialMs * 2 ** Math.min(this.#probes + 1, 20))
    const waitMs = probeInitialMs + this.#random() * (ceiling - probeInitialMs)
    this.#probes += 1
    this.#state = { kind: 'open', until: this.#clock.monotonic() + waitMs }
  }
}
