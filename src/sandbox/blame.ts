/**
 * Who is to blame for the deaths of executors, as pure bookkeeping.
 *
 *   death ─┬─ the culprit is known (ran alone, named itself, passed its deadline) ──► charge
 *          └─ several ran ──► each is a suspect: its next batch is probed, alone and one message at a time
 *   first charge: an executor of its own, and probed · `chargesMax` charges in `windowMs`: disabled
 *   a record that kills its probe twice: a dead letter; its second kill is no further charge, for the record is to blame
 */

/** Charges after which a function is disabled. */
export const chargesMax = 3
/** Time for which a charge counts. */
export const windowMs = 600_000
/** Kills by which a record is known to be the cause. */
export const recordKillsMax = 2
/** Records whose kills are remembered per function. */
const recordsMax = 64

export interface Verdict {
  /** The record has killed often enough: it is a dead letter. */
  readonly recordGuilty: boolean
  readonly disabled: boolean
}

interface Charge {
  readonly at: number
  readonly record: string | undefined
  kills: number
}

export class Blame {
  #charges: Charge[] = []
  #suspect = false
  #disabled: string | undefined

  /** Its next batch runs alone, one message at a time. */
  get probing(): boolean {
    return this.#suspect
  }

  /** It has killed an executor: it shares none. */
  get charged(): boolean {
    return this.#charges.length > 0
  }

  /** Why it is disabled. */
  get disabled(): string | undefined {
    return this.#disabled
  }

  suspect(): void {
    this.#suspect = true
  }

  /** A probe went well. */
  cleared(): void {
    this.#suspect = false
  }

  /** It brought an executor down at `now` (ms, any clock), while it ran `record` if that is known. */
  charge(now: number, record: string | undefined, reason: string): Verdict {
    this.#charges = this.#charges.filter(charge => now - charge.at < windowMs).slice(-recordsMax)
    this.#suspect = true
    const known = record === undefined ? undefined : this.#charges.find(charge => charge.record === record)
    if (known !== undefined) known.kills++
    else this.#charges.push({ at: now, record, kills: 1 })
    if (this.#charges.length >= chargesMax)
      this.#disabled ??= `it brought its executor down ${this.#charges.length} times in ${windowMs / 60_000} minutes: ${reason}`
    return {
      recordGuilty: known !== undefined && known.kills >= recordKillsMax,
      disabled: this.#disabled !== undefined,
    }
  }
}
