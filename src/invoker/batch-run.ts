/**
 * One batch on its way through the sandbox: knows which record each result belongs to, and whether a result
 * still counts.
 *
 *   sandbox ─ result(i) ─► owner.succeeded        owner.discard(): later results may rest on refused effects,
 *           ─ ended ─────► owner.ended            they do not count and their records run again
 *
 * With concurrency the engine keeps invocations on one state key serial (sandbox.ts).
 */
import type { BatchEnd, BatchItem, BatchSink, LogLine, Success } from '#sandbox/sandbox.ts'
import type { LogRecord } from '#store/record.ts'
import type { PublishGrants } from './grants.ts'
import type { Revision } from './revision.ts'
import type { StateSpace } from './state-space.ts'

export interface BatchOwner {
  succeeded(run: BatchRun, index: number, success: Success): void
  /** The batch is over; items without a result go back to the inbox. Called once. */
  ended(run: BatchRun, end: BatchEnd): void
  log(line: LogLine): void
}

export interface Batch {
  readonly revision: Revision
  readonly grants: PublishGrants
  readonly records: readonly LogRecord[]
  readonly items: readonly BatchItem[]
  /** Monotonic milliseconds. */
  readonly startedAt: number
}

type Phase = 'open' | 'discarding' | 'closed'

export class BatchRun implements BatchSink {
  readonly batch: Batch
  /** Monotonic milliseconds of the last result; of the dispatch before there is one. */
  lastResultAt: number
  readonly #owner: BatchOwner
  readonly #state: StateSpace
  readonly #finished: Uint8Array
  #finishedCount = 0
  #phase: Phase = 'open'

  constructor(owner: BatchOwner, state: StateSpace, batch: Batch) {
    this.#owner = owner
    this.#state = state
    this.batch = batch
    this.lastResultAt = batch.startedAt
    this.#finished = new Uint8Array(batch.records.length)
  }

  /** Items whose result counted. */
  get finished(): number {
    return this.#finishedCount
  }

  get complete(): boolean {
    return this.#finishedCount === this.batch.records.length
  }

  /** Whether a result for this index came and counted. */
  isFinished(index: number): boolean {
    return this.#finished[index] === 1
  }

  /** Results no longer count; only the end is awaited. */
  discard(): void {
    if (this.#phase === 'open') this.#phase = 'discarding'
  }

  /** Takes nothing more: what still comes is ignored, the end too. */
  close(): void {
    this.#phase = 'closed'
  }

  result(index: number, success: Success): void {
    if (this.#phase !== 'open' || this.#finished[index] !== 0) return
    this.#finished[index] = 1
    this.#finishedCount += 1
    this.#owner.succeeded(this, index, success)
  }

  ended(end: BatchEnd): void {
    if (this.#phase === 'closed') return
    const discarded = this.#phase === 'discarding'
    this.#phase = 'closed'
    this.#owner.ended(this, discarded ? { kind: 'returned' } : end)
  }

  log(line: LogLine): void {
    if (this.#phase !== 'closed') this.#owner.log(line)
  }

  readState(key: string): Promise<string | undefined> {
    return this.#state.read(key)
  }

  /** The record and item of an index that the sandbox named. */
  at(index: number): { record: LogRecord; item: BatchItem } | undefined {
    const record = this.batch.records[index]
    const item = this.batch.items[index]
    return record === undefined || item === undefined ? undefined : { record, item }
  }
}
