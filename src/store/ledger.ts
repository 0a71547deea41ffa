/**
 * The loss ledger (D4): each range or number of records that is gone, in the batch that removes it, as a
 * record of an ordinary log.
 *
 * Losses that have no offsets (a message that a full log refused) may come by the thousand in a second. The
 * first is written at once; those that follow within a second are added up under a meta key, in the batch of
 * each, and become one entry when the second is over: exact over a crash, and the ledger stays readable.
 */
import type { Clock } from '#base/clock.ts'
import type { Epoch } from '#base/ids.ts'
import type { RecordInput } from './record.ts'
import type { LedgerEntry } from './store.ts'
import type { LossReason } from './transaction.ts'

export const ledgerLog = 'ledger'
export const ledgerTopic = '$fescue/lost'
export const ledgerMaxBytes: number = 16 * 1024 * 1024
/** Time over which counts without offsets are added up. */
const windowMs = 1_000
/** Kinds of counts that are added up at a time; above, each loss gets its own entry. */
const countsMax = 256

export interface Loss {
  readonly log: string
  readonly incarnation: number
  readonly from: number
  readonly to: number
  readonly records: number
  readonly reason: LossReason
}

interface Count {
  loss: Loss
  /** End of the window, in monotonic ms. */
  readonly until: number
}

export class Ledger {
  readonly #clock: Clock
  readonly #counts = new Map<string, Count>()
  readonly #totals: Record<string, number> = {}

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Records lost since the start, by reason. */
  get totals(): Readonly<Record<string, number>> {
    return this.#totals
  }

  get hasCounts(): boolean {
    return this.#counts.size > 0
  }

  /** Counts a loss; says whether its entry is to be written now (else `counts()` changed). */
  note(loss: Loss): boolean {
    this.#totals[loss.reason] = (this.#totals[loss.reason] ?? 0) + loss.records
    if (loss.from !== loss.to) return true
    const key = `${loss.incarnation} ${loss.reason} ${loss.log}`
    const count = this.#counts.get(key)
    if (count === undefined) {
      if (this.#counts.size < countsMax) {
        this.#counts.set(key, { loss: { ...loss, records: 0 }, until: this.#clock.monotonic() + windowMs })
      }
      return true
    }
    count.loss = { ...count.loss, to: loss.to, from: loss.to, records: count.loss.records + loss.records }
    return false
  }

  /** What was added up and is not in the log yet: stored under the meta key. */
  counts(): readonly Loss[] {
    return [...this.#counts.values()].map(count => count.loss).filter(loss => loss.records > 0)
  }

  /** Takes the counts whose window is over (or all), to be written as entries. */
  due(all = false): Loss[] {
    const now = this.#clock.monotonic()
    const due: Loss[] = []
    for (const [key, { loss, until }] of this.#counts) {
      if (!all && until > now) continue
      this.#counts.delete(key)
      if (loss.records > 0) due.push(loss)
    }
    return due
  }

  /** The record of an entry. */
  record(loss: Loss, epoch: Epoch): RecordInput {
    const time = this.#clock.now()
    const entry: LedgerEntry = { ...loss, epoch, time }
    return {
      time,
      topic: ledgerTopic,
      qos: 1,
      payload: Buffer.from(JSON.stringify(entry)),
      contentType: 'application/json',
      key: loss.log,
    }
  }
}
