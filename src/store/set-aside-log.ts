/**
 * A log of records that were set aside for a person: dead letters of functions, records that a receiver refused.
 * They are looked at, put back one by one, or dropped.
 *
 *   head          taken out            end
 *    │             │    │               │
 *    [ . . . . . . ][ – ][ . . – . . . .]      checkpoint of consumer `removed` marks the gaps;
 *                                              what all below is taken out is truncated
 *
 * Putting a record back appends it to its log and marks it here in one batch (D2).
 */
import { FescueError } from '#base/errors.ts'
import type { Offset } from '#base/ids.ts'
import { Checkpoint } from './checkpoint.ts'
import type { CommitLog } from './commit-log.ts'
import type { LogRecord, RecordInput } from './record.ts'
import type { Store } from './store.ts'
import { Transaction } from './transaction.ts'

const consumer = 'removed'
const readLimits = { maxRecords: 256, maxBytes: 1024 * 1024 }

export class SetAsideLog {
  readonly log: CommitLog
  readonly #store: Store
  readonly #owner: string
  readonly #removed: Checkpoint

  private constructor(store: Store, log: CommitLog, owner: string, removed: Checkpoint) {
    this.#store = store
    this.log = log
    this.#owner = owner
    this.#removed = removed
  }

  /** `owner` names whose records they are in messages: `function "f"`. */
  static async open(store: Store, log: CommitLog, owner: string): Promise<SetAsideLog> {
    return new SetAsideLog(store, log, owner, new Checkpoint(await store.checkpoint(log, consumer)))
  }

  /** Records kept now. */
  get count(): number {
    this.#removed.skipTo(this.log.head)
    const { low, done } = this.#removed.state()
    return done.reduce((left, [from, to]) => left - (to - from), Math.max(0, this.log.end - low))
  }

  /** The newest `limit`, newest first. */
  async list(limit: number): Promise<LogRecord[]> {
    const { end } = this.log
    // Those taken out leave gaps: look further back until there are enough.
    for (let span = limit; ; span *= 4) {
      const from = Math.max(this.log.head, end - span)
      const found: LogRecord[] = []
      for await (const record of this.#records(from)) found.push(record)
      if (found.length >= limit || from === this.log.head) return found.slice(-limit).reverse()
    }
  }

  /** Offsets of all that are kept now, oldest first. */
  async offsets(): Promise<Offset[]> {
    const found: Offset[] = []
    for await (const { offset } of this.#records(0)) found.push(offset)
    return found
  }

  /**
   * Appends what `input` makes of the record to `target` and takes it out here: one batch.
   * Errors: FESCUE_NOT_FOUND; FESCUE_STORE_FULL when the target has no room.
   */
  async putBack(
    offset: Offset,
    target: CommitLog,
    input: (record: LogRecord, id: string) => RecordInput,
  ): Promise<void> {
    const record = input(await this.#find(offset), `${this.log.name}.${this.log.incarnation}/${offset}`)
    const room = target.room(record.payload.length + record.topic.length, true)
    if (room !== 'fits') throw new FescueError('FESCUE_STORE_FULL', `${target.name} is full: try again later`)
    const tx = new Transaction().require('power')
    tx.append(target, record)
    this.#stageRemoval(tx, offset, offset + 1)
    await this.#store.write(tx)
  }

  /** Takes one out for good. Errors: FESCUE_NOT_FOUND. */
  async drop(offset: Offset): Promise<void> {
    await this.#find(offset)
    const tx = new Transaction().require('power')
    this.#stageRemoval(tx, offset, offset + 1)
    await this.#store.write(tx)
  }

  /** Takes all out for good; how many there were. */
  async dropAll(): Promise<number> {
    const { count } = this
    const tx = new Transaction().require('power')
    this.#stageRemoval(tx, this.log.head, this.log.end)
    await this.#store.write(tx)
    return count
  }

  #stageRemoval(tx: Transaction, from: Offset, to: Offset): void {
    // Only removals at the head free the record; a set of gaps that is full asks for those first (D6).
    if (this.#removed.full && from > this.#removed.low) {
      const text = `too many dead letters of ${this.#owner} were taken out of the middle: begin with the oldest`
      throw new FescueError('FESCUE_CONFLICT', text)
    }
    this.#removed.complete(from, to)
    tx.checkpoint(this.log, consumer, this.#removed.state())
    tx.truncate(this.log, this.#removed.low)
  }

  async #find(offset: Offset): Promise<LogRecord> {
    this.#removed.skipTo(this.log.head)
    if (!this.#removed.isDone(offset) && offset < this.log.end) {
      const { records } = await this.log.read(offset, { maxRecords: 1, maxBytes: 1 })
      if (records[0]?.offset === offset) return records[0]
    }
    throw new FescueError('FESCUE_NOT_FOUND', `${this.#owner} has no dead letter ${offset}`)
  }

  async *#records(from: Offset): AsyncGenerator<LogRecord> {
    this.#removed.skipTo(this.log.head)
    let next = this.#removed.nextOpen(from)
    while (next < this.log.end) {
      const result = await this.log.read(next, readLimits)
      for (const record of result.records) if (!this.#removed.isDone(record.offset)) yield record
      if (result.next <= next) return
      next = this.#removed.nextOpen(result.next)
    }
  }
}
