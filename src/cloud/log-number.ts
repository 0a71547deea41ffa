/**
 * The one number that the endpoint keeps per (device, epoch, log): the next offset it has not seen.
 *
 *   below `next`: a duplicate │ `next`: taken │ above: a gap, unless the loss ledger explains it
 *
 * Offsets of a log go on from epoch to epoch, so the first record of an epoch says where it begins
 * (`fescuebase`) and which epoch came before (`fescueafter`); that one then has a known end, and what it
 * lacks below is a gap as well. A log's offsets may exist in two epochs when a folder was copied or rolled
 * back: each epoch has its own number, so no record is taken for a copy of another (D9).
 */
import type { Epoch, Offset } from '#base/ids.ts'
import { RangeSet, type RangeSetState } from './range-set.ts'

/** An epoch that began after another one, and the offset at which it did. */
export interface Follower {
  readonly epoch: Epoch
  readonly at: Offset
}

/** Followers kept of an epoch: one, and one more for each copy of the folder. */
const followersMax = 4

export interface LogNumberState {
  readonly epoch: Epoch
  readonly next: Offset
  readonly records: number
  readonly duplicates: number
  /** Offsets that never came and that no ledger entry explains. */
  readonly gaps: RangeSetState
  /** Ranges that ledger entries explain and that have not been passed yet. */
  readonly explained: RangeSetState
  /** Offsets passed because the ledger explained them. */
  readonly lost: number
  /** The epochs that began after this one; several when the device's folder was copied or rolled back. */
  readonly followers: readonly Follower[]
  /** `fescuemsgid` of record `next` - 1: by it a device sees whether that record is its own. */
  readonly lastMessageId: string | undefined
}

/** The row of `GET /v1/devices/DEVICE`. */
export interface LogNumberView {
  readonly log: string
  readonly epoch: Epoch
  readonly next: Offset
  readonly records: number
  readonly duplicates: number
  readonly gaps: number
  readonly lost: number
  readonly followers: readonly Follower[]
  readonly lastMessageId?: string
}

export class LogNumber {
  readonly epoch: Epoch
  #next: Offset = 0
  #records = 0
  #duplicates = 0
  #lost = 0
  #followers: readonly Follower[] = []
  #lastMessageId: string | undefined
  readonly #gaps: RangeSet
  readonly #explained: RangeSet

  constructor(epoch: Epoch, state?: LogNumberState) {
    this.epoch = epoch
    this.#gaps = new RangeSet(state?.gaps)
    this.#explained = new RangeSet(state?.explained)
    if (state === undefined) return
    this.#next = state.next
    this.#records = state.records
    this.#duplicates = state.duplicates
    this.#lost = state.lost
    this.#followers = state.followers
    this.#lastMessageId = state.lastMessageId
  }

  get next(): Offset {
    return this.#next
  }

  get records(): number {
    return this.#records
  }

  get duplicates(): number {
    return this.#duplicates
  }

  get lost(): number {
    return this.#lost
  }

  /** Offsets that are missing and unexplained, those up to the known end included. */
  get gaps(): number {
    let missing = this.#gaps.size
    const end = this.#end
    if (end !== undefined && end > this.#next) {
      for (const [from, to] of this.#explained.missing(this.#next, end)) missing += to - from
    }
    return missing
  }

  /** Takes note of where the epoch begins in this log; counts only before the first record. */
  begin(base: Offset): void {
    if (this.#records === 0 && base > this.#next) this.#next = base
  }

  /** Takes note of an epoch that began after this one. */
  followedBy(follower: Follower): void {
    if (this.#followers.some(({ epoch }) => epoch === follower.epoch)) return
    this.#followers = [...this.#followers, follower].slice(-followersMax)
  }

  /** Whether the record is new; a duplicate is counted and is not to be stored. */
  take(offset: Offset, messageId: string | undefined): boolean {
    if (offset < this.#next) {
      this.#duplicates += 1
      return false
    }
    if (offset > this.#next) this.#pass(offset)
    this.#next = offset + 1
    this.#records += 1
    this.#lastMessageId = messageId
    return true
  }

  /** A ledger entry says that [from, to) is gone; it may come before or after the gap is seen. */
  explain(from: Offset, to: Offset): void {
    this.#lost += this.#gaps.remove(from, to)
    this.#explained.add(Math.max(from, this.#next), to)
  }

  /** Whether a ledger entry about [from, to) can concern this epoch. */
  concernedBy(from: Offset): boolean {
    const end = this.#end
    return end === undefined || from < end || !this.#gaps.empty
  }

  state(): LogNumberState {
    return {
      epoch: this.epoch,
      next: this.#next,
      records: this.#records,
      duplicates: this.#duplicates,
      gaps: this.#gaps.state(),
      explained: this.#explained.state(),
      lost: this.#lost,
      followers: this.#followers,
      lastMessageId: this.#lastMessageId,
    }
  }

  view(log: string): LogNumberView {
    const view = {
      log,
      epoch: this.epoch,
      next: this.#next,
      records: this.#records,
      duplicates: this.#duplicates,
      gaps: this.gaps,
      lost: this.#lost,
      followers: this.#followers,
    }
    return this.#lastMessageId === undefined ? view : { ...view, lastMessageId: this.#lastMessageId }
  }

  /** No offset at or above exists in this epoch; undefined while it goes on. */
  get #end(): Offset | undefined {
    return this.#followers.length === 0 ? undefined : Math.max(...this.#followers.map(({ at }) => at))
  }

  #pass(offset: Offset): void {
    let unexplained = 0
    for (const [from, to] of this.#explained.missing(this.#next, offset)) {
      this.#gaps.add(from, to)
      unexplained += to - from
    }
    this.#lost += offset - this.#next - unexplained
    this.#explained.trim(offset)
  }
}
