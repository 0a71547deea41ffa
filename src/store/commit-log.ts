/**
 * The commit log as its users see it: append through a transaction, read from an offset, truncate.
 *
 *   head                 low of a consumer           synced      end
 *    │                        │                        │          │
 *    ▼                        ▼                        ▼          ▼
 *    [ deleted in steps ][ done, kept? ][ to be read .............]   offsets dense, never reused
 *
 * `end` moves when a batch is committed, in commit order; `synced` when a batch was fsynced (D9).
 */
import type { Incarnation, Offset } from '#base/ids.ts'
import type { LogRecord } from './record.ts'

/** What happens to a record that finds its log full. */
export type Overflow = 'block' | 'drop-oldest' | 'drop-newest' | 'keep-latest'

/** Bounds of a log (D6); `undefined` means unbounded in that dimension. */
export interface LogLimits {
  readonly maxBytes: number
  readonly maxRecords?: number
  readonly maxAgeMs?: number
  readonly overflow: Overflow
}

export interface ReadLimits {
  readonly maxRecords: number
  /** Payload and envelope bytes; at least one record is given whatever its size. */
  readonly maxBytes: number
}

/** A run of offsets [from, to) that is gone: damage, or a class-`process` tail lost with the power. */
export interface LostRange {
  readonly from: Offset
  readonly to: Offset
}

export interface ReadResult {
  readonly records: readonly LogRecord[]
  /** Where to read on; above the last record when a damaged range follows it. */
  readonly next: Offset
  /** Ranges passed over because they are damaged or missing; written to the loss ledger once by the log. */
  readonly lost: readonly LostRange[]
}

/** Whether a record of `bytes` fits now, and if not what the log's policy says. */
export type Room = 'fits' | 'wait' | 'drop-oldest' | 'drop-newest'

export interface CommitLog {
  readonly name: string
  readonly incarnation: Incarnation
  readonly limits: LogLimits
  /** First offset that is still kept. */
  readonly head: Offset
  /** All offsets below are committed and readable. */
  readonly end: Offset
  /** All offsets below are safe against power loss. */
  readonly synced: Offset
  /** Records and bytes kept now, those of the open batch included. */
  readonly records: number
  readonly bytes: number
  /** Time of the oldest kept record in ms since the epoch, or undefined when empty or unknown. */
  readonly oldestAt: number | undefined

  /** Decides about a record of `bytes` for an origin that can (or cannot) wait. Pure; appends nothing. */
  room(bytes: number, canWait: boolean): Room
  /** Records from `from` out of memory, or undefined when they are not cached: the fast path of a caught-up consumer. */
  readCached(from: Offset, limits: ReadLimits): ReadResult | undefined
  /** Records from `from` (or from `head` when that is higher), from memory or disk. */
  read(from: Offset, limits: ReadLimits): Promise<ReadResult>
  /** Calls after each commit that moved `end`, at most once per batch. The returned function unsubscribes. */
  onAppend(listener: () => void): () => void
  /** Calls when room appeared in a log that answered 'wait'. */
  onRoom(listener: () => void): () => void
  setLimits(limits: LogLimits): void
}
