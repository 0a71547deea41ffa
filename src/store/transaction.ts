/**
 * A transaction: operations that are committed in one batch or not at all (D2).
 *
 * It only collects; `Store.commit` hands it to the writer, which joins it with others into one batch. Its
 * durability is the strongest that any of its operations asked for. Offsets are given when it is committed,
 * in the order of its appends.
 */
import type { Offset } from '#base/ids.ts'
import type { CheckpointState } from './checkpoint.ts'
import type { CommitLog } from './commit-log.ts'
import type { RecordInput } from './record.ts'
import type { Timer } from './timers.ts'

/**
 * `power`: fsynced before the commit is reported. `process`: written, survives kill -9. `memory`: may be
 * written later with another batch; reported at once.
 */
export type Durability = 'memory' | 'process' | 'power'

const rank: Record<Durability, number> = { memory: 0, process: 1, power: 2 }

export function stronger(a: Durability, b: Durability): Durability {
  return rank[a] >= rank[b] ? a : b
}

/** Why records are gone; the `reason` of the ledger and of `fescue_lost_records_total`. */
export type LossReason =
  | 'overflow'
  | 'expired'
  | 'age'
  | 'damaged'
  | 'power'
  | 'purged'
  | 'qos0'
  | 'session'
  | 'rollback'
  | 'rejected'

export type Operation =
  | { readonly type: 'append'; readonly log: CommitLog; readonly record: RecordInput; offset: Offset }
  | { readonly type: 'truncate'; readonly log: CommitLog; readonly to: Offset }
  | {
      readonly type: 'checkpoint'
      readonly log: CommitLog
      readonly consumer: string
      readonly state: CheckpointState
    }
  | { readonly type: 'put'; readonly space: string; readonly key: string; readonly value: Buffer }
  | { readonly type: 'delete'; readonly space: string; readonly key: string }
  | { readonly type: 'schedule'; readonly timer: Timer }
  | { readonly type: 'cancel'; readonly timerId: string }
  | {
      readonly type: 'lose'
      readonly log: string
      readonly incarnation: number
      readonly from: Offset
      readonly to: Offset
      readonly records: number
      readonly reason: LossReason
    }

export class Transaction {
  readonly operations: Operation[] = []
  durability: Durability = 'memory'
  /** Called in commit order once the batch holds; before the callback given to `Store.commit`. */
  readonly #committed: (() => void)[] = []

  /** Asks for at least this class. */
  require(durability: Durability): this {
    this.durability = stronger(this.durability, durability)
    return this
  }

  /** Appends; the operation's `offset` is set when the transaction is handed to `Store.commit`. */
  append(log: CommitLog, record: RecordInput): { readonly offset: Offset } {
    const operation = { type: 'append' as const, log, record, offset: -1 }
    this.operations.push(operation)
    return operation
  }

  /** Removes all offsets below `to`. */
  truncate(log: CommitLog, to: Offset): void {
    this.operations.push({ type: 'truncate', log, to })
  }

  checkpoint(log: CommitLog, consumer: string, state: CheckpointState): void {
    this.operations.push({ type: 'checkpoint', log, consumer, state })
  }

  put(space: string, key: string, value: Buffer): void {
    this.operations.push({ type: 'put', space, key, value })
  }

  delete(space: string, key: string): void {
    this.operations.push({ type: 'delete', space, key })
  }

  schedule(timer: Timer): void {
    this.operations.push({ type: 'schedule', timer })
  }

  cancel(timerId: string): void {
    this.operations.push({ type: 'cancel', timerId })
  }

  /** Counts records that are gone and writes them to the loss ledger in the same batch (D4). */
  lose(log: CommitLog, range: { from: Offset; to: Offset }, records: number, reason: LossReason): void {
    this.operations.push({
      type: 'lose',
      log: log.name,
      incarnation: log.incarnation,
      ...range,
      records,
      reason,
    })
  }

  /** Registers a callback for the moment of commit. */
  onCommitted(callback: () => void): void {
    this.#committed.push(callback)
  }

  /** For the writer alone. */
  runCommitted(): void {
    for (const callback of this.#committed) callback()
  }
}
