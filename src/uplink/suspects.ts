/**
 * Finding the record that a receiver will not take: a rejected batch is halved until one record is left, which
 * gets a few attempts and is then buried (dead letter and ledger), so that it does not hold up the rest.
 *
 * A receiver that rejects everything must not empty the outbox into the dead letters: after `buriedInARowMax`
 * with no acknowledgement between them the link counts as refused.
 */
import type { Offset } from '#base/ids.ts'
import type { OutgoingBatch } from './connector.ts'
import type { Outbox } from './outbox.ts'

/** What to do about a rejected batch. */
export type Verdict = 'halve' | 'again' | 'bury' | 'refuse'

interface Suspect {
  /** The culprit lies below. */
  readonly to: Offset
  readonly maxRecords: number
  readonly attempts: number
  /** Monotonic ms of the next attempt. */
  readonly notBefore: number
}

export const poisonAttemptsMax = 3
export const buriedInARowMax = 3

export class Suspects {
  readonly #waitMs: number
  readonly #suspects = new Map<Outbox, Suspect>()
  #buriedInARow = 0

  /** `waitMs` grows with each attempt. */
  constructor(waitMs: number) {
    this.#waitMs = waitMs
  }

  /** Records that the next batch of the outbox may have, at most. */
  maxRecords(outbox: Outbox, maxRecords: number): number {
    return Math.min(maxRecords, this.#suspects.get(outbox)?.maxRecords ?? maxRecords)
  }

  isWaiting(outbox: Outbox, now: number): boolean {
    return (this.#suspects.get(outbox)?.notBefore ?? 0) > now
  }

  /** Milliseconds until the first waiting outbox may try again, at most `maxMs`. */
  waitMs(now: number, maxMs: number): number {
    let wait = maxMs
    for (const { notBefore } of this.#suspects.values()) {
      if (notBefore > now) wait = Math.min(wait, notBefore - now)
    }
    return wait
  }

  rejected(outbox: Outbox, { records, to }: OutgoingBatch, now: number): Verdict {
    const known = this.#suspects.get(outbox)
    if (records.length > 1) {
      const maxRecords = Math.ceil(records.length / 2)
      this.#suspects.set(outbox, { to: Math.max(to, known?.to ?? 0), maxRecords, attempts: 0, notBefore: 0 })
      return 'halve'
    }
    const attempts = (known?.attempts ?? 0) + 1
    const notBefore = now + this.#waitMs * attempts
    if (attempts < poisonAttemptsMax) {
      this.#suspects.set(outbox, { to: known?.to ?? to, maxRecords: 1, attempts, notBefore })
      return 'again'
    }
    if (this.#buriedInARow >= buriedInARowMax) return 'refuse'
    this.#buriedInARow += 1
    this.#passed(outbox, to)
    return 'bury'
  }

  acknowledged(outbox: Outbox, to: Offset): void {
    this.#buriedInARow = 0
    this.#passed(outbox, to)
  }

  /** The rest of the rejected batch goes on at once, and in larger pieces again. */
  #passed(outbox: Outbox, to: Offset): void {
    const suspect = this.#suspects.get(outbox)
    if (suspect === undefined) return
    if (to >= suspect.to) this.#suspects.delete(outbox)
    else
      this.#suspects.set(outbox, {
        ...suspect,
        maxRecords: suspect.maxRecords * 2,
        attempts: 0,
        notBefore: 0,
      })
  }
}
