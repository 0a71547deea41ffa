/**
 * Whose turn it is on a link: the ledger first, then the logs by weight, a share of 2^priority each, so that
 * priority 9 gets nearly all of a full link and priority 0 still moves.
 *
 * Stride scheduling: each log's pass grows by what it sent divided by its weight; the lowest pass is next. A
 * log that was empty starts at the lowest pass of the others and saves up nothing.
 */
import type { Outbox } from './outbox.ts'

export class Turns {
  readonly #passes = new Map<Outbox, number>()
  #floor = 0

  /** The outbox to prepare next, among those with something to send and not in `waiting`. */
  next(outboxes: Iterable<Outbox>, isWaiting: (outbox: Outbox) => boolean): Outbox | undefined {
    let best: Outbox | undefined
    let bestPass = Number.POSITIVE_INFINITY
    for (const outbox of outboxes) {
      if (!outbox.pending || isWaiting(outbox)) continue
      if (outbox.kind === 'loss') return outbox
      const pass = Math.max(this.#passes.get(outbox) ?? 0, this.#floor)
      if (pass < bestPass || (pass === bestPass && outbox.priority > (best?.priority ?? -1))) {
        best = outbox
        bestPass = pass
      }
    }
    return best
  }

  /** Takes note of what an outbox prepared. */
  charge(outbox: Outbox, bytes: number): void {
    if (outbox.kind === 'loss') return
    const pass = Math.max(this.#passes.get(outbox) ?? 0, this.#floor)
    this.#floor = pass
    this.#passes.set(outbox, pass + (bytes + 1) / 2 ** outbox.priority)
  }

  forget(outbox: Outbox): void {
    this.#passes.delete(outbox)
  }
}
