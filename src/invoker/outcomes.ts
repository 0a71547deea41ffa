/**
 * The one place where what became of messages is committed (D2).
 *
 *   succeeded ─┐  effects                    ┌─► tx: effects, dead letters
 *   buried    ─┼─► one open transaction ──── ┤       + checkpoint (its state now) + truncate
 *   postponed ─┘  (end of the turn, or full) └─► store.commit ─► answers to waiters
 *
 * Outcomes that come in one turn share a transaction; an item's effects are never apart from its checkpoint,
 * because the checkpoint's state is taken when the transaction is handed over, and transactions commit in order.
 */
import type { FescueError } from '#base/errors.ts'
import type { Offset } from '#base/ids.ts'
import type { Success } from '#sandbox/sandbox.ts'
import type { LogRecord } from '#store/record.ts'
import type { Store } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'
import type { DeadLetterLog, DeathCause } from './dead-letter-log.ts'
import type { EffectsStage } from './effects.ts'
import { type Inbox, inboxConsumer } from './inbox.ts'
import type { StateSpace } from './state-space.ts'
import type { InvokeOutcome, Waiters } from './waiters.ts'

/** Bytes, items and operations after which a transaction is handed over before the turn ends. */
const transactionMaxBytes = 1024 * 1024
const transactionMaxItems = 256
const transactionMaxOperations = 8_192
/** Items and bytes handed over and not yet committed, above which nothing more is dispatched (D6). */
export const uncommittedMaxItems = 4_096
export const uncommittedMaxBytes = 16 * 1024 * 1024

export interface OutcomesOptions {
  readonly store: Store
  readonly inbox: Inbox
  readonly state: StateSpace
  readonly effects: EffectsStage
  readonly dead: DeadLetterLog
  readonly waiters: Waiters
  /** A transaction was committed: there may be room for more. */
  onCommitted(): void
  /** The store closed before a commit. */
  onClosed(error: FescueError): void
}

export class Outcomes {
  readonly #options: OutcomesOptions
  #tx: Transaction | undefined
  #bytes = 0
  #items = 0
  #answers: { offset: Offset; answer: InvokeOutcome }[] = []
  #truncatedTo: Offset = 0
  #uncommittedItems = 0
  #uncommittedBytes = 0

  constructor(options: OutcomesOptions) {
    this.#options = options
  }

  /** Whether more may be dispatched. */
  get hasRoom(): boolean {
    return this.#uncommittedItems < uncommittedMaxItems && this.#uncommittedBytes < uncommittedMaxBytes
  }

  /** Whether everything is committed. */
  get settled(): boolean {
    return this.#tx === undefined && this.#uncommittedItems === 0
  }

  succeed(
    record: LogRecord,
    success: Success,
    bytes: number,
    time: number,
    answer: InvokeOutcome | undefined,
  ): void {
    const tx = this.#open()
    if (success.effects.length > 0) this.#options.effects.stage(tx, success.effects, record, time)
    this.#options.inbox.checkpoint.complete(record.offset)
    this.#answer(tx, record.offset, answer)
    this.#count(bytes)
  }

  /** It failed and its caller is told: that ends the message. */
  tell(record: LogRecord, answer: InvokeOutcome): void {
    const tx = this.#open()
    this.#options.inbox.checkpoint.complete(record.offset)
    this.#answer(tx, record.offset, answer)
    this.#count(0)
  }

  /** The message becomes a dead letter. */
  bury(record: LogRecord, cause: DeathCause): void {
    const tx = this.#open()
    this.#options.dead.stage(tx, record, cause)
    this.#options.inbox.checkpoint.complete(record.offset)
    tx.require('power')
    this.#count(record.payload.length)
  }

  /** Nobody wants the message any more: its time to live is over. */
  expire(record: LogRecord): void {
    const { inbox } = this.#options
    this.#open().lose(inbox.log, { from: record.offset, to: record.offset + 1 }, 1, 'expired')
    inbox.checkpoint.complete(record.offset)
    this.#count(0)
  }

  /** The checkpoint changed in another way (a retry was noted) and is to be stored. */
  touch(): void {
    this.#open()
    this.#count(0)
  }

  /** Hands the open transaction to the store. */
  flush(): void {
    const tx = this.#tx
    if (tx === undefined) return
    const { store, inbox, state, waiters } = this.#options
    const items = this.#items
    const bytes = this.#bytes
    const answers = this.#answers
    this.#tx = undefined
    this.#items = 0
    this.#bytes = 0
    this.#answers = []
    const { checkpoint, log } = inbox
    tx.checkpoint(log, inboxConsumer, checkpoint.state())
    if (checkpoint.low > this.#truncatedTo) {
      this.#truncatedTo = checkpoint.low
      tx.truncate(log, checkpoint.low)
    }
    this.#uncommittedItems += items
    this.#uncommittedBytes += bytes
    store.commit(tx, error => {
      this.#uncommittedItems -= items
      this.#uncommittedBytes -= bytes
      if (error !== undefined) {
        for (const { offset } of answers) waiters.fail(error, offset)
        return this.#options.onClosed(error)
      }
      for (const { offset, answer } of answers) waiters.answer(offset, answer)
      this.#options.onCommitted()
    })
    state.committed()
  }

  #open(): Transaction {
    if (this.#tx !== undefined) return this.#tx
    this.#tx = new Transaction().require('process')
    queueMicrotask(() => this.flush())
    return this.#tx
  }

  #answer(tx: Transaction, offset: Offset, answer: InvokeOutcome | undefined): void {
    if (answer === undefined) return
    tx.require('power')
    this.#answers.push({ offset, answer })
  }

  #count(bytes: number): void {
    this.#items += 1
    this.#bytes += bytes
    const full = this.#items >= transactionMaxItems || this.#bytes >= transactionMaxBytes
    if (full || (this.#tx?.operations.length ?? 0) >= transactionMaxOperations) this.flush()
  }
}
