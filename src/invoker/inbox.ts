/**
 * A function's inbox as its runner takes from it: records in offset order that are neither done nor behind a
 * failing one.
 *
 *   done │ retry at 12:00:01 (key a) │ a: waits │ b: take │ done │ c: take │ ...
 *       low                                     └────── a batch ──────┘   cursor
 *
 * The cursor runs ahead of the checkpoint's `low` while messages are in the handler; `rewind` takes it back when
 * some of them came back. D3: what is done is the checkpoint's word alone.
 */
import type { Offset } from '#base/ids.ts'
import { Checkpoint, type CheckpointState } from '#store/checkpoint.ts'
import type { CommitLog, ReadLimits, ReadResult } from '#store/commit-log.ts'
import type { LogRecord } from '#store/record.ts'

/** Consumer of a function's inbox in its checkpoints. */
export const inboxConsumer = 'function'

const readLimits: ReadLimits = { maxRecords: 256, maxBytes: 2 * 1024 * 1024 }

export interface TakeOptions {
  readonly maxRecords: number
  /** Key whose records run one after the other. */
  keyOf(record: LogRecord): string
  /** Milliseconds since the epoch. */
  readonly now: number
}

export interface Taken {
  readonly records: readonly LogRecord[]
  /** Records that nobody wants any more: to be counted as lost and done. */
  readonly expired: readonly LogRecord[]
  /** More may follow, but must first be read from disk. */
  readonly needsRead: boolean
}

export class Inbox {
  readonly log: CommitLog
  readonly checkpoint: Checkpoint
  /** Order keys of records in retry, by offset. */
  readonly #retryKeys = new Map<Offset, string>()
  #cursor: Offset
  #ahead: readonly LogRecord[] = []
  #aheadIndex = 0

  constructor(log: CommitLog, state: CheckpointState) {
    this.log = log
    this.checkpoint = new Checkpoint(state)
    this.#cursor = this.checkpoint.low
  }

  /** Whether there may be something to take. */
  get pending(): boolean {
    return this.#aheadIndex < this.#ahead.length || this.checkpoint.nextOpen(this.#cursor) < this.log.end
  }

  /** Starts over at the first record that is not done. */
  rewind(): void {
    this.#cursor = this.checkpoint.low
    this.#ahead = []
    this.#aheadIndex = 0
  }

  /** Starts over when a record whose retry is due lies behind the cursor. */
  rewindIfDue(now: number): void {
    for (const { offset, nextAt } of this.checkpoint.retries())
      if (nextAt <= now && offset < this.#cursor) {
        this.rewind()
        return
      }
  }

  /** Puts a failed record aside until `nextAt`; its key waits with it. */
  retryLater(record: LogRecord, key: string, attempts: number, nextAt: number): void {
    this.checkpoint.retry({ offset: record.offset, attempts, nextAt })
    this.#retryKeys.set(record.offset, key)
  }

  /** Attempts that a record has used. */
  attemptsOf(offset: Offset): number {
    return this.checkpoint.retryOf(offset)?.attempts ?? 0
  }

  /** Time of the next retry that is not yet due, or undefined. */
  nextRetryAt(now: number): number | undefined {
    let earliest: number | undefined
    for (const { nextAt } of this.checkpoint.retries())
      if (nextAt > now && (earliest === undefined || nextAt < earliest)) earliest = nextAt
    return earliest
  }

  /**
   * Up to `maxRecords` records from memory. Order keys of records in retry that are not due are passed over;
   * they are found again after `rewind`.
   */
  take(options: TakeOptions): Taken {
    const records: LogRecord[] = []
    const expired: LogRecord[] = []
    this.#skipDropped()
    const waiting = this.#waitingKeys(options.now)
    while (records.length < options.maxRecords) {
      if (this.#aheadIndex >= this.#ahead.length) {
        const filled = this.#fillFromCache()
        if (filled === 'nothing') break
        if (filled === 'disk') return { records, expired, needsRead: true }
        continue
      }
      const record = this.#ahead[this.#aheadIndex++]
      if (record === undefined) continue
      this.#cursor = record.offset + 1
      if (this.checkpoint.isDone(record.offset)) continue
      if (record.expiresAt !== undefined && record.expiresAt <= options.now) expired.push(record)
      else if (waiting === undefined || !waiting.has(options.keyOf(record))) records.push(record)
    }
    return { records, expired, needsRead: false }
  }

  /** Reads on from disk. */
  async read(): Promise<void> {
    this.#skipDropped()
    const from = this.#from()
    if (from < this.log.end) this.#fill(await this.log.read(from, readLimits))
  }

  /** Another revision may mend what failed: all retries are due now. */
  hurryRetries(): void {
    for (const retry of [...this.checkpoint.retries()]) this.checkpoint.retry({ ...retry, nextAt: 0 })
    this.#retryKeys.clear()
    this.rewind()
  }

  /** Learns the order keys of what was in retry when the daemon stopped. */
  async recallRetries(keyOf: (record: LogRecord) => string): Promise<void> {
    for (const { offset } of [...this.checkpoint.retries()]) {
      const { records } = await this.log.read(offset, { maxRecords: 1, maxBytes: 1 })
      const record = records[0]
      if (record?.offset === offset) this.#retryKeys.set(offset, keyOf(record))
      else this.checkpoint.complete(offset)
    }
  }

  #waitingKeys(now: number): Set<string> | undefined {
    let keys: Set<string> | undefined
    let retries = 0
    for (const { offset, nextAt } of this.checkpoint.retries()) {
      retries += 1
      const key = this.#retryKeys.get(offset)
      if (nextAt <= now || key === undefined) continue
      keys ??= new Set()
      keys.add(key)
    }
    if (this.#retryKeys.size > retries) this.#forgetKeys()
    return keys
  }

  #forgetKeys(): void {
    for (const offset of this.#retryKeys.keys())
      if (this.checkpoint.retryOf(offset) === undefined) this.#retryKeys.delete(offset)
  }

  /** With a record in retry that the log dropped ends the wait of its key: what was passed over is looked at again. */
  #skipDropped(): void {
    const { head } = this.log
    let ends = false
    for (const { offset } of this.checkpoint.retries()) ends ||= offset < head
    this.checkpoint.skipTo(head)
    if (ends) this.rewind()
  }

  /** Where to read next. Records below the head were dropped by the log, which wrote it to the ledger. */
  #from(): Offset {
    this.checkpoint.skipTo(this.log.head)
    return this.checkpoint.nextOpen(this.#cursor)
  }

  #fillFromCache(): 'filled' | 'nothing' | 'disk' {
    const from = this.#from()
    if (from >= this.log.end) return 'nothing'
    const result = this.log.readCached(from, readLimits)
    if (result === undefined) return 'disk'
    this.#fill(result)
    return 'filled'
  }

  #fill(result: ReadResult): void {
    for (const { from, to } of result.lost) this.checkpoint.complete(from, to)
    this.#ahead = result.records
    this.#aheadIndex = 0
    this.#cursor = result.records[0]?.offset ?? result.next
  }
}
