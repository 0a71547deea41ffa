/**
 * Below which offset the messages of a session may have been sent: they carry DUP=1 the next time
 * [MQTT-3.3.1-1], after a kill -9 too.
 *
 * The mark is written ahead of the sending in steps, so it costs one small write per step. A step is doubled whenever
 * the sending had to wait for it: a fast session is not held to the pace of the disk.
 *
 *      resendBelow        next          safe       staged
 *   ───────┴────────────────┴─────────────┴───────────┴──►  offsets
 *    DUP=1 │ first sending  │ may be sent │ on its way to disk
 */
import type { Offset } from '#base/ids.ts'
import type { Store } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'

/** Messages that one write covers at first, and at most. */
export const sentToStep = 64
export const sentToStepMax = 1_024

export interface SentMarkOptions {
  readonly store: Store
  /** Offsets below may have been sent before this start. */
  readonly sentTo: Offset
  /** Writes the session's document with this `sentTo`. */
  write(tx: Transaction, sentTo: Offset): void
  /** Calls when more may be sent. */
  onSafe(): void
}

export class SentMark {
  readonly #options: SentMarkOptions
  #resendBelow: Offset
  #staged: Offset
  #safe: Offset
  #step = sentToStep
  /** The sending had to wait since the last step. */
  #waited = false

  constructor(options: SentMarkOptions) {
    this.#options = options
    this.#resendBelow = options.sentTo
    this.#staged = options.sentTo
    this.#safe = options.sentTo
  }

  /** Sent by an earlier connection, or maybe. */
  get resendBelow(): Offset {
    return this.#resendBelow
  }

  /** Writes ahead in a transaction of the caller's, so that the first messages need not wait for it. */
  reserve(tx: Transaction, low: Offset): void {
    this.#stage(tx, Math.max(this.#staged, this.#resendBelow + sentToStep, low + sentToStep))
  }

  /** Whether the message may go out; if not, `onSafe` is called when it may. */
  covers(offset: Offset): boolean {
    const safe = offset < this.#safe
    if (!safe) this.#waited = true
    if (this.#staged === this.#safe && offset + this.#step / 2 >= this.#staged) {
      if (this.#waited) this.#step = Math.min(2 * this.#step, sentToStepMax)
      this.#waited = false
      const tx = new Transaction().require('process')
      this.#stage(tx, offset + this.#step)
      this.#options.store.commit(tx)
    }
    return safe
  }

  /** The connection ended with `next` as its first message that was not sent: the mark is exact again. */
  settle(tx: Transaction, next: Offset): void {
    this.#resendBelow = Math.max(this.#resendBelow, next)
    this.#staged = this.#resendBelow
    this.#safe = this.#resendBelow
    this.#step = sentToStep
    this.#options.write(tx, this.#resendBelow)
  }

  #stage(tx: Transaction, to: Offset): void {
    this.#staged = to
    this.#options.write(tx, to)
    tx.onCommitted(() => {
      // A connection that has ended since made the mark exact again.
      if (to > this.#staged || to <= this.#safe) return
      this.#safe = to
      this.#options.onSafe()
    })
  }
}
