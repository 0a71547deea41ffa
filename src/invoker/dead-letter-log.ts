/**
 * The dead letters of one function: log `dead.NAME`, one record for each message whose attempts are spent.
 *
 *   record = the input (topic, payload, QoS, time, origin) + extra: why, and what is needed to replay it elsewhere
 *
 * A dead letter is appended in the batch that advances the inbox's checkpoint (D2). Taking one out (retry, drop)
 * marks it in the checkpoint of consumer `removed`; what all below is removed is truncated.
 */
import { FescueError } from '#base/errors.ts'
import type { InvocationId, Offset } from '#base/ids.ts'
import type { ErrorDocument } from '#sandbox/sandbox.ts'
import { Checkpoint } from '#store/checkpoint.ts'
import type { CommitLog } from '#store/commit-log.ts'
import type { LogRecord, RecordInput } from '#store/record.ts'
import type { Store } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'

/** Why a message died: the JSON in `extra` of its record. */
export interface DeathCause {
  readonly error: ErrorDocument
  readonly attempts: number
  readonly revision: string
  readonly invocationId: InvocationId
  /** `log.incarnation/offset` of the input. */
  readonly source: string
  readonly epoch: string
  /** Milliseconds since the epoch. */
  readonly diedAt: number
  /** The state most recently used when it died: JSON texts by key, at most `stateSeenMaxChars`. */
  readonly state: Readonly<Record<string, string>>
}

export interface DeadLetter extends DeathCause {
  readonly function: string
  readonly offset: Offset
  readonly topic: string
  readonly payload: Buffer
  readonly qos: number
  /** When the message was accepted. */
  readonly time: number
}

/** Bytes of a function's dead letters; then the oldest go. */
export const deadLetterMaxBytes: number = 64 * 1024 * 1024
/** Characters of state kept with a dead letter. */
export const stateSeenMaxChars = 8_192
const consumer = 'removed'
const readLimits = { maxRecords: 256, maxBytes: 1024 * 1024 }

export function deadLetterLogName(name: string): string {
  return `dead.${name}`
}

export class DeadLetterLog {
  readonly log: CommitLog
  readonly #name: string
  readonly #store: Store
  readonly #removed: Checkpoint

  private constructor(store: Store, name: string, log: CommitLog, removed: Checkpoint) {
    this.#store = store
    this.#name = name
    this.log = log
    this.#removed = removed
  }

  static async open(
    store: Store,
    name: string,
    maxBytes: number = deadLetterMaxBytes,
  ): Promise<DeadLetterLog> {
    const log = store.log(deadLetterLogName(name), { maxBytes, overflow: 'drop-oldest' })
    return new DeadLetterLog(store, name, log, new Checkpoint(await store.checkpoint(log, consumer)))
  }

  /** Dead letters kept now. */
  get count(): number {
    this.#removed.skipTo(this.log.head)
    const { low, done } = this.#removed.state()
    return done.reduce((left, [from, to]) => left - (to - from), Math.max(0, this.log.end - low))
  }

  /** Appends a dead letter to the caller's transaction. */
  stage(tx: Transaction, input: LogRecord, cause: DeathCause): void {
    const { offset: _offset, epoch: _epoch, expiresAt: _expiresAt, ...message } = input
    tx.append(this.log, { ...message, extra: JSON.stringify(cause) })
  }

  /** The newest `limit`, newest first. */
  async list(limit: number): Promise<DeadLetter[]> {
    const { end } = this.log
    // Those taken out leave gaps: look further back until there are enough.
    for (let span = limit; ; span *= 4) {
      const from = Math.max(this.log.head, end - span)
      const found: LogRecord[] = []
      for await (const record of this.#records(from)) found.push(record)
      if (found.length >= limit || from === this.log.head)
        return found
          .slice(-limit)
          .reverse()
          .map(record => deadLetterOf(this.#name, record))
    }
  }

  /** Offsets of all that are kept now, oldest first. */
  async offsets(): Promise<Offset[]> {
    const found: Offset[] = []
    for await (const { offset } of this.#records(0)) found.push(offset)
    return found
  }

  /**
   * Appends the message to the inbox again, with `retryOf`, and takes the dead letter out: one batch.
   * Errors: FESCUE_NOT_FOUND; FESCUE_STORE_FULL when the inbox has no room.
   */
  async retry(offset: Offset, inbox: CommitLog): Promise<void> {
    const record = await this.#find(offset)
    const input = retryInput(record, `${this.log.name}.${this.log.incarnation}/${offset}`)
    const room = inbox.room(input.payload.length + input.topic.length, true)
    if (room !== 'fits') throw new FescueError('FESCUE_STORE_FULL', `${inbox.name} is full: try again later`)
    const tx = new Transaction().require('power')
    tx.append(inbox, input)
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
      const text = `too many dead letters of "${this.#name}" were taken out of the middle: begin with the oldest`
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
    throw new FescueError('FESCUE_NOT_FOUND', `function "${this.#name}" has no dead letter ${offset}`)
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

function deadLetterOf(name: string, record: LogRecord): DeadLetter {
  const cause: DeathCause = JSON.parse(record.extra ?? '{}')
  const { offset, topic, payload, qos, time } = record
  return { function: name, offset, topic, payload, qos, time, ...cause }
}

/** The message once more. Its hops begin anew: a person decided to run it. */
function retryInput(record: LogRecord, retryOf: string): RecordInput {
  const { offset: _offset, epoch: _epoch, extra: _extra, hops: _hops, ...message } = record
  return { ...message, retryOf }
}
