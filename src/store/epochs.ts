/**
 * The lives of a database (D9). An epoch ends when offsets could otherwise be used twice: the next one names
 * it and the last offsets that were known of it.
 *
 *   created ──► power-loss │ moved │ restored │ rollback │ salvage ──► …
 *
 * After a rollback that only a receiver could see, records that were not sent yet carry offsets that it knows
 * as others: from there on they count to the new epoch (`restamped`), without being written again.
 */

import type { Clock } from '#base/clock.ts'
import { type Epoch, newEpoch, type Offset } from '#base/ids.ts'
import type { StoredLog } from './log.ts'
import type { EpochEntry, EpochReason } from './store.ts'

/** Entries kept, oldest forgotten first; only the newest keep their logs' offsets. */
const epochsMax = 64
const epochsWithOffsetsMax = 4

interface StoredEpoch extends EpochEntry {
  /** By `log.incarnation`: offsets [from, to) that were moved into this epoch. */
  readonly restamped?: Readonly<Record<string, readonly [Offset, Offset]>>
}

export class Epochs {
  readonly #clock: Clock
  #entries: StoredEpoch[]

  constructor(clock: Clock, entries: readonly StoredEpoch[] = []) {
    this.#clock = clock
    this.#entries = [...entries]
  }

  static decode(clock: Clock, bytes: Buffer): Epochs {
    return new Epochs(clock, JSON.parse(bytes.toString()))
  }

  encode(): Buffer {
    return Buffer.from(JSON.stringify(this.#entries))
  }

  get current(): Epoch {
    return this.#entries.at(-1)?.epoch ?? ''
  }

  get all(): readonly EpochEntry[] {
    return this.#entries
  }

  /** Begins an epoch; `unsent` moves records of these logs from an offset on into it. */
  start(
    reason: EpochReason,
    logs: Iterable<StoredLog>,
    unsent: ReadonlyMap<StoredLog, Offset> = new Map(),
  ): EpochEntry {
    const predecessor = this.#entries.at(-1)?.epoch
    const lastKnown: Record<string, Offset> = {}
    for (const log of logs) if (log.next > 0) lastKnown[`${log.name}.${log.incarnation}`] = log.next
    const restamped: Record<string, [Offset, Offset]> = {}
    for (const [log, from] of unsent) restamped[`${log.name}.${log.incarnation}`] = [from, log.next]
    const entry: StoredEpoch = {
      epoch: newEpoch(),
      startedAt: this.#clock.now(),
      reason,
      ...(predecessor === undefined ? {} : { predecessor, lastKnown }),
      ...(unsent.size === 0 ? {} : { restamped }),
    }
    this.#entries = [...this.#entries, entry].slice(-epochsMax)
    this.#entries = this.#entries.map((old, index) => {
      if (index >= this.#entries.length - epochsWithOffsetsMax || old.lastKnown === undefined) return old
      const { lastKnown: _offsets, ...rest } = old
      return rest
    })
    for (const [log, from] of unsent) log.restamp({ from, to: log.next, epoch: entry.epoch })
    return entry
  }

  /** Gives a loaded log the ranges that were moved into later epochs. */
  restampInto(log: StoredLog): void {
    const id = `${log.name}.${log.incarnation}`
    for (const { epoch, restamped } of this.#entries) {
      const range = restamped?.[id]
      if (range !== undefined) log.restamp({ from: range[0], to: range[1], epoch })
    }
  }
}
