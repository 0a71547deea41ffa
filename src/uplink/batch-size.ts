/**
 * How large a batch may be: it grows while answers come quickly and shrinks when they take long, so that a
 * fast link is filled and a slow one still gets whole batches through before the deadline.
 *
 * The rate of the link is measured with each acknowledgement; the deadline of a request follows from it.
 */

export interface BatchSizeOptions {
  readonly maxBytes: number
  readonly maxRecords: number
  /** Time for an answer to a request of no size. */
  readonly timeoutMs: number
}

const initialBytes = 16 * 1024
const minBytes = 4 * 1024
/** Answers within this time let the batch grow, above the other they make it shrink. */
const quickMs = 250
const slowMs = 2_000
/** What a link is taken to carry until it was measured: less than a GPRS link does. */
const rateMinBytesPerS = 4 * 1024

export class BatchSize {
  readonly #options: BatchSizeOptions
  #bytes: number
  #bytesPerS = 0
  #recordsPerS = 0

  constructor(options: BatchSizeOptions) {
    this.#options = options
    this.#bytes = Math.min(initialBytes, options.maxBytes)
  }

  get maxBytes(): number {
    return this.#bytes
  }

  get maxRecords(): number {
    return this.#options.maxRecords
  }

  /** Records a second while sending; 0 until measured. */
  get recordsPerS(): number {
    return this.#recordsPerS
  }

  /** Deadline of a request of `bytes`: what they should take, four times that once measured, and the answer. */
  timeoutMs(bytes: number): number {
    const { timeoutMs } = this.#options
    if (this.#bytesPerS === 0) return timeoutMs + (1_000 * bytes) / rateMinBytesPerS
    return timeoutMs + (4_000 * bytes) / Math.max(rateMinBytesPerS, this.#bytesPerS)
  }

  acknowledged(bytes: number, records: number, tookMs: number): void {
    const seconds = Math.max(tookMs, 1) / 1_000
    this.#bytesPerS = smooth(this.#bytesPerS, bytes / seconds)
    this.#recordsPerS = smooth(this.#recordsPerS, records / seconds)
    if (tookMs < quickMs && bytes * 2 >= this.#bytes) this.#set(this.#bytes * 2)
    else if (tookMs > slowMs) this.#set(this.#bytes / 2)
  }

  timedOut(): void {
    this.#set(this.#bytes / 4)
  }

  #set(bytes: number): void {
    this.#bytes = Math.max(
      Math.min(minBytes, this.#options.maxBytes),
      Math.min(bytes, this.#options.maxBytes),
    )
  }
}

function smooth(mean: number, value: number): number {
  return mean === 0 ? value : mean * 0.8 + value * 0.2
}
