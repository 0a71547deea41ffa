/**
 * The sending side of one log: reads batches in offset order and moves the checkpoint when they are
 * acknowledged.
 *
 *   head     low (checkpoint)   position              synced    end
 *    │        │                  │                      │        │
 *    [ gone ][ [ in flight .....][ prepared next ......][ not yet ]
 *
 * D3: `low` moves only in `acknowledge`, with the truncation in the same batch. D9: nothing at or above
 * `synced` is read for sending. D4: records that expired or that the receiver will not take go to the loss
 * ledger in the batch that passes them.
 *
 * A batch that follows a gap carries `ledgerTo`: the ledger must be acknowledged up to there first.
 */
import { type Clock, sleep } from '#base/clock.ts'
import type { Epoch, Offset } from '#base/ids.ts'
import { RecentRate } from '#base/recent-rate.ts'
import type { CommitLog } from '#store/commit-log.ts'
import type { LogRecord } from '#store/record.ts'
import type { Store } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'
import type { OutgoingBatch } from './connector.ts'
import { type RefusalCause, refusedLogName } from './refused.ts'

export interface OutboxOptions {
  readonly store: Store
  readonly clock: Clock
  readonly log: CommitLog
  readonly kind: OutgoingBatch['kind']
  /** Name of the consumer; the outbox's logs have one, the ledger one per link. */
  readonly consumer: string
  /** Share of the link; the ledger goes before all. */
  readonly priority: number
}

export interface Limits {
  readonly maxRecords: number
  readonly maxBytes: number
}

export interface PreparedBatch {
  readonly batch: OutgoingBatch
  /** The ledger's entries below explain the gap before this batch. */
  readonly ledgerTo: Offset
}

/** Space of the documents that uplinks keep. */
export const uplinkSpace = 'uplink'
/** Wait before unsynced records are synced for sending: they come in numbers, and each sync wears the disk. */
const unsyncedLingerMs = 20
/** Bytes of the log with records that a receiver would not take. */
const deadMaxBytes = 64 * 1024 * 1024

export class Outbox {
  readonly log: CommitLog
  readonly kind: OutgoingBatch['kind']
  readonly priority: number
  readonly #options: OutboxOptions
  #low: Offset
  #position: Offset
  /** Epoch of the last acknowledged record, kept as a document; undefined when the receiver may not know it. */
  #after: Epoch | undefined
  /** Epoch at `#position`: that of the last prepared record. */
  #preparedEpoch: Epoch | undefined
  /** End of the ledger when the checkpoint last passed records that were not sent. */
  #ledgerTo: Offset = 0
  /** The commit of the last acknowledgement: one at a time is under way. */
  #moving: Promise<void> = Promise.resolve()
  readonly #acknowledged: RecentRate
  #closed = false

  private constructor(options: OutboxOptions, low: Offset, after: Epoch | undefined) {
    this.#options = options
    this.log = options.log
    this.kind = options.kind
    this.priority = options.priority
    this.#low = low
    this.#position = low
    this.#after = after
    this.#preparedEpoch = after
    this.#acknowledged = new RecentRate(options.clock)
  }

  static async open(options: OutboxOptions): Promise<Outbox> {
    const { store, log, consumer } = options
    const { low } = await store.checkpoint(log, consumer)
    const after = await store.get(uplinkSpace, epochKey(options))
    return new Outbox(options, low, after?.toString('latin1'))
  }

  /** `log.incarnation`. */
  get key(): string {
    return logKey(this.log)
  }

  get low(): Offset {
    return this.#low
  }

  get after(): Epoch | undefined {
    return this.#after
  }

  /** Records not yet acknowledged. */
  get records(): number {
    return this.log.end - Math.max(this.#low, this.log.head)
  }

  /** Records acknowledged a second of late. */
  get perSecond(): number {
    return this.#acknowledged.perSecond
  }

  /** Whether there is something to prepare. */
  get pending(): boolean {
    return this.log.end > this.#position
  }

  /** The record at an offset, or the first above it that is kept. */
  async peek(offset: Offset): Promise<LogRecord | undefined> {
    if (offset >= this.log.end) return undefined
    const one = { maxRecords: 1, maxBytes: 1 }
    const { records } = this.log.readCached(offset, one) ?? (await this.log.read(offset, one))
    return records[0]
  }

  /** Forgets what was prepared: the next batch begins at the checkpoint. */
  rewind(): void {
    this.#position = this.#low
    this.#preparedEpoch = this.#after
  }

  /** The receiver does not know the epoch of the last acknowledged record: the next batch says where it begins. */
  forgetAfter(): void {
    this.#after = undefined
    this.#preparedEpoch = undefined
  }

  close(): void {
    this.#closed = true
  }

  /**
   * The next batch, or undefined when nothing may leave now. With `isAhead` an earlier batch is in flight, and
   * what would have to move the checkpoint is left for later.
   */
  async prepare(limits: Limits, isAhead: boolean, signal: AbortSignal): Promise<PreparedBatch | undefined> {
    const { log } = this
    while (this.pending && !signal.aborted && !this.#closed) {
      if (log.synced <= this.#position) await this.#sync(signal)
      const from = this.#position
      const read = log.readCached(from, limits) ?? (await log.read(from, limits))
      if (from !== this.#position) return undefined
      const sendable = this.#sendable(read.records)
      const first = sendable[0]
      if (first !== undefined) return this.#batch(from, sendable)
      const passed = this.#passed(read.records, read.next)
      if (passed.to <= from || isAhead) return undefined
      await this.#pass(passed.to, passed.expired)
    }
    return undefined
  }

  /** D3: moves the checkpoint above an acknowledged batch. */
  async acknowledge(to: Offset, epoch: Epoch | undefined): Promise<void> {
    const tx = new Transaction()
    this.#acknowledged.add(Math.max(0, to - this.#low))
    this.#move(tx, to, epoch)
    // Class `process` is enough: after a power loss the batch is sent again and the receiver drops it.
    tx.require('process')
    await this.#moving
    this.#moving = this.#options.store.write(tx).catch(() => {})
  }

  /**
   * A record that the receiver will not take: to the dead letters and the ledger, and past it. An entry of the
   * ledger is only passed: it stays in the ledger, and an entry about it would be refused as well.
   */
  async bury(record: LogRecord, reason: string): Promise<void> {
    const { store } = this.#options
    const tx = new Transaction().require('power')
    if (this.kind === 'message') {
      // Not among `dead.NAME`: those are the functions', which remove what has no function.
      const dead = store.log(refusedLogName(this.log), { maxBytes: deadMaxBytes, overflow: 'drop-oldest' })
      tx.append(dead, { ...record, extra: JSON.stringify(this.#deadLetter(record, reason)) })
      tx.lose(this.log, { from: record.offset, to: record.offset + 1 }, 1, 'rejected')
    }
    this.#move(tx, record.offset + 1, undefined)
    this.rewind()
    await store.write(tx)
    this.#ledgerTo = store.ledger.end
  }

  /** Waits until the checkpoint of the last acknowledgement is committed. */
  settled(): Promise<void> {
    return this.#moving
  }

  #deadLetter({ offset, epoch }: LogRecord, reason: string): RefusalCause {
    const error = { code: 'FESCUE_UPLINK_REFUSED', message: reason }
    return { error, log: this.key, offset, epoch, at: this.#options.clock.now() }
  }

  async #sync(signal: AbortSignal): Promise<void> {
    const { store, clock } = this.#options
    await sleep(clock, unsyncedLingerMs, signal)
    // Fails only when the store closes; what is not synced then does not leave.
    if (this.log.synced <= this.#position && !signal.aborted) await store.sync().catch(() => this.close())
  }

  /** The run that may leave: below `synced` (D9), without a hole in it, not expired. */
  #sendable(records: readonly LogRecord[]): readonly LogRecord[] {
    const ceiling = this.log.synced
    const now = this.#options.clock.now()
    let count = 0
    let expected = records[0]?.offset
    for (const record of records) {
      if (record.offset >= ceiling || record.offset !== expected || isExpired(record, now)) break
      expected += 1
      count += 1
    }
    return count === records.length ? records : records.slice(0, count)
  }

  /** Without a sendable first record: up to where the checkpoint may pass, and what of it expired. */
  #passed(records: readonly LogRecord[], next: Offset): { to: Offset; expired: readonly LogRecord[] } {
    const now = this.#options.clock.now()
    const stays = records.findIndex(record => record.offset >= this.log.synced || !isExpired(record, now))
    if (stays < 0)
      return { to: records.length === 0 ? next : (records.at(-1)?.offset ?? 0) + 1, expired: records }
    return { to: records[stays]?.offset ?? 0, expired: records.slice(0, stays) }
  }

  #batch(from: Offset, records: readonly LogRecord[]): PreparedBatch {
    const first = records[0]
    const last = records.at(-1)
    if (first === undefined || last === undefined) throw new RangeError('a batch has records')
    const after = this.#preparedEpoch
    this.#position = last.offset + 1
    this.#preparedEpoch = last.epoch
    let bytes = 0
    for (const record of records) bytes += record.payload.length + record.topic.length
    const { key: log, kind } = this
    if (first.offset > from) this.#ledgerTo = this.#options.store.ledger.end
    return {
      batch: { log, kind, records, from, to: this.#position, after, bytes },
      ledgerTo: kind === 'message' ? this.#ledgerTo : 0,
    }
  }

  /** Moves the checkpoint over records that are gone or expired. */
  async #pass(to: Offset, expired: readonly LogRecord[]): Promise<void> {
    const first = expired[0]
    const last = expired.at(-1)
    const tx = new Transaction().require('process')
    if (first !== undefined && last !== undefined && this.kind === 'message')
      tx.lose(this.log, { from: first.offset, to: last.offset + 1 }, expired.length, 'expired')
    this.#move(tx, to, undefined)
    this.rewind()
    await this.#options.store.write(tx).catch(() => this.close())
    this.#ledgerTo = this.#options.store.ledger.end
  }

  #move(tx: Transaction, to: Offset, epoch: Epoch | undefined): void {
    const { log, consumer } = this.#options
    this.#low = Math.max(this.#low, to)
    tx.checkpoint(log, consumer, { low: this.#low, done: [], retries: [] })
    if (this.kind === 'message') tx.truncate(log, this.#low)
    if (epoch !== undefined && epoch !== this.#after) {
      this.#after = epoch
      tx.put(uplinkSpace, epochKey(this.#options), Buffer.from(epoch, 'latin1'))
    }
    if (this.#position <= this.#low) this.rewind()
  }
}

export function logKey(log: CommitLog): string {
  return `${log.name}.${log.incarnation}`
}

function epochKey({ log, consumer }: OutboxOptions): string {
  return `epoch/${consumer}/${logKey(log)}`
}

function isExpired(record: LogRecord, now: number): boolean {
  return record.expiresAt !== undefined && record.expiresAt <= now
}
