/**
 * The books of one load: which message was sent when and by whom, and what came of it. Publishers take numbers
 * from it, subscribers give them back, and both ask it how much may be under way.
 */
import { Histogram } from './histogram.ts'
import { firstNumber } from './message.ts'

/** Messages whose time is remembered; far more than any bound on what is under way. */
const remembered = 2 ** 18
/** After so long without a delivery what is under way counts as lost: a broker that drops must not stall the load. */
const lostAfterMs = 500

export class Traffic {
  readonly latencies = new Histogram()
  readonly #copies: number
  readonly #times = new Float64Array(remembered)
  readonly #owners = new Uint16Array(remembered)
  /** Deliveries that each publisher still waits for. */
  readonly #pending: Float64Array
  sent = 0
  acknowledged = 0
  delivered = 0
  #deliveredAt = performance.now()

  /** `copies` deliveries are expected of each message. */
  constructor(publishers: number, copies: number) {
    this.#copies = copies
    this.#pending = new Float64Array(publishers)
  }

  /** The number of the next message. `at`: when it was sent, or should have been. */
  send(publisher: number, at: number): number {
    const slot = this.sent % remembered
    this.#times[slot] = at
    this.#owners[slot] = publisher
    this.#pending[publisher]! += this.#copies
    return firstNumber + this.sent++
  }

  deliver(number: number, now: number): void {
    const sequence = number - firstNumber
    if (!(sequence >= 0 && sequence < this.sent)) return
    const slot = sequence % remembered
    this.delivered += 1
    this.#deliveredAt = now
    const owner = this.#owners[slot]!
    if (this.#pending[owner]! > 0) this.#pending[owner]! -= 1
    this.latencies.add(now - this.#times[slot]!)
  }

  /** Messages of a publisher that not everyone has yet. */
  underWay(publisher: number): number {
    return this.#copies === 0 ? 0 : this.#pending[publisher]! / this.#copies
  }

  get missing(): number {
    return this.sent * this.#copies - this.delivered
  }

  /** Gives up on what does not come. */
  look(now: number): void {
    if (now - this.#deliveredAt < lostAfterMs) return
    this.#pending.fill(0)
    this.#deliveredAt = now
  }
}
