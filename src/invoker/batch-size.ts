/**
 * How many records a batch takes: as many as should run in `targetMs`, so that a new revision, a stop or a
 * neighbour in the executor need not wait long, and a fast function pays for few crossings.
 */
import { batchItemsMax } from '#sandbox/sandbox.ts'

const targetMs = 100
const initialItems = 32

export class BatchSize {
  #items = initialItems

  get items(): number {
    return this.#items
  }

  reset(): void {
    this.#items = initialItems
  }

  /** Learns from a batch: half old, half new, at most doubling. */
  learn(finished: number, tookMs: number): void {
    if (finished === 0) return
    const fitting = tookMs > 0 ? Math.floor((targetMs * finished) / tookMs) : batchItemsMax
    const next = Math.round((this.#items + Math.min(fitting, batchItemsMax)) / 2)
    this.#items = Math.max(1, Math.min(next, batchItemsMax, this.#items * 2))
  }
}
