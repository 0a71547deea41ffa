/**
 * The store as all other parts see it: one database, one writer, one open batch.
 *
 *   commit(tx) ─┐
 *   commit(tx) ─┼─► open batch ──► on its way to disk (one fsync for all) ──► callbacks, in order
 *   commit(tx) ─┘        ▲ fills while the other is under way
 *
 * A commit never fails while the store lives: after a write error the writer re-opens the database, finds out
 * whether the batch got through, and tries it again until the disk takes it; meanwhile `health` says
 * `degraded` and callers wait. Only a stop fails what still waits, with FESCUE_STORE_CLOSED.
 *
 * Memory: documents and timers are read from disk (pending writes are seen); logs keep a bounded tail.
 */
import type { FescueError } from '#base/errors.ts'
import type { Epoch, Offset } from '#base/ids.ts'
import type { CheckpointState } from './checkpoint.ts'
import type { CommitLog, LogLimits } from './commit-log.ts'
import type { SalvageNote } from './salvage-note.ts'
import type { Timer } from './timers.ts'
import type { Transaction } from './transaction.ts'

export type StoreHealth =
  | { readonly state: 'ok' }
  | {
      readonly state: 'degraded'
      readonly reason: 'disk-full' | 'disk-failing'
      readonly message: string
      readonly since: number
    }

export type EpochReason = 'created' | 'restart' | 'power-loss' | 'moved' | 'restored' | 'rollback' | 'salvage'

/** One life of the database; the newest is last. */
export interface EpochEntry {
  readonly epoch: Epoch
  readonly startedAt: number
  readonly reason: EpochReason
  readonly predecessor?: Epoch
  /** Last known `end` of each log of the predecessor, by `log.incarnation`. */
  readonly lastKnown?: Readonly<Record<string, Offset>>
}

/** A row of the loss ledger (the JSON payload of the records of log `ledger`). */
export interface LedgerEntry {
  readonly log: string
  readonly incarnation: number
  readonly epoch: Epoch
  readonly from: Offset
  readonly to: Offset
  readonly records: number
  readonly reason: string
  readonly time: number
}

export interface StoreStats {
  readonly batches: number
  readonly syncs: number
  readonly transactions: number
  readonly bytesWritten: number
  readonly lost: Readonly<Record<string, number>>
}

export interface Store extends AsyncDisposable {
  readonly epoch: Epoch
  readonly epochs: readonly EpochEntry[]
  readonly health: StoreHealth
  /** What was last done about a damaged database, until a start finds the folder with the damaged files deleted. */
  readonly lastSalvage: SalvageNote | undefined
  readonly stats: StoreStats
  /** The loss ledger, an ordinary log. */
  readonly ledger: CommitLog

  /** Opens a log, creating it (in the next batch) when it is new. Synchronous: descriptors are in memory. */
  log(name: string, limits: LogLimits): CommitLog
  /** The log of this name if it exists. */
  findLog(name: string): CommitLog | undefined
  logs(): Iterable<CommitLog>
  /** Removes a log with its records and checkpoints; its incarnation is never used again. */
  removeLog(log: CommitLog): Promise<void>

  /**
   * Hands a transaction to the writer. `done` runs in commit order once its class is reached; an empty
   * transaction is done when all before it are. Throws FESCUE_TRANSACTION_TOO_LARGE at once; `done` gets an
   * error only when the store closes. Offsets of its appends are set on return.
   */
  commit(tx: Transaction, done?: (error?: FescueError) => void): void
  /** `commit` as a promise. */
  write(tx: Transaction): Promise<void>
  /** Resolves once everything committed so far is safe against power loss. */
  sync(): Promise<void>

  /**
   * Begins a new epoch: records appended from now on carry it, offsets go on. Resolves once it is safe against
   * power loss. Every start of a daemon begins one before it takes messages (`restart`): a folder that was
   * copied or rolled back cannot know it, and would else give an (epoch, incarnation, offset) to a second
   * record (D9). The uplink begins one when a receiver's number is above ours (`rollback`): records of the logs
   * in `unsent` from the offset given on (those that no receiver got from this copy) then count to it.
   */
  startEpoch(reason: EpochReason, unsent?: ReadonlyMap<CommitLog, Offset>): Promise<Epoch>

  /** The stored state of a consumer; a new consumer starts at `log.head`. */
  checkpoint(log: CommitLog, consumer: string): Promise<CheckpointState>
  /** A document, pending writes included. */
  get(space: string, key: string): Promise<Buffer | undefined>
  /** Documents of a space in key order, those whose key starts with `prefix`; pending writes are committed first. */
  list(space: string, prefix?: string): AsyncIterable<{ key: string; value: Buffer }>
  /** Timers due at or before `now`, earliest first. */
  timersDue(kind: string, now: number, limit: number): Promise<readonly Timer[]>
  nextTimerAt(kind: string): Promise<number | undefined>
  /** Whether the disk takes new records: above the floor of free space and not failing. */
  readonly accepting: boolean
  /** Another floor of free disk, in bytes; resolves when `accepting` follows it. */
  setFreeDiskMin(bytes: number): Promise<void>
  onHealth(listener: (health: StoreHealth) => void): () => void
}
