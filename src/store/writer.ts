/**
 * The one writer: batches fill, wait, go to disk one at a time and in order, and report in order.
 *
 *   open ──full──► waiting … ──► in flight ──► written: ends move, next batch starts, callbacks run
 *     └──── nothing in flight: one flush per turn of the event loop ────┘
 *
 * Group commit: while a batch is on its way the next one fills, so one fsync serves all who came meanwhile.
 * A failed write never reaches a caller: the database is re-opened, the ring of batch numbers says whether
 * the batch got through, and if not it is tried again until the disk takes it. D1, D2 and D9 rest on this file.
 */
import { Backoff } from '#base/backoff.ts'
import { type Clock, sleep } from '#base/clock.ts'
import { FescueError } from '#base/errors.ts'
import type { Logger } from '#base/logger.ts'
import type { Backend } from './backend.ts'
import { Batch, type Done } from './batch.ts'
import type { Health } from './health.ts'
import type { StoredLog } from './log.ts'
import { holdsBatch } from './recovery.ts'
import type { Sink } from './sink.ts'
import type { Transaction } from './transaction.ts'

export interface WriterOptions {
  readonly backend: Backend
  readonly sink: Sink
  readonly clock: Clock
  readonly logger: Logger
  readonly health: Health
  /** Number of the last batch in the database. */
  readonly lastBatch: number
  /** Called before a batch is encoded: the last chance to add to it. */
  readonly beforeSeal: (batch: Batch) => void
  /** Called after the callbacks of each batch that was written. */
  readonly onWritten: (batch: Batch) => void
}

/** A batch that reaches one of these goes to disk without taking more. */
export const batchMaxBytes: number = 1024 * 1024
export const batchMaxOperations = 8_192
/** One transaction above these is refused. */
export const transactionMaxBytes: number = 16 * 1024 * 1024
export const transactionMaxOperations = 65_536
/** Longest that class `memory` stays unwritten. */
export const memoryDelayMs = 1_000
/** Bytes that may wait for the disk before the store says that it takes no more. */
export const waitingMaxBytes: number = 32 * 1024 * 1024
const retryMaxMs = 5_000
/** Longest that closing waits for a disk that works. */
const closeMaxMs = 1_500

const closedError = (): FescueError =>
  new FescueError('FESCUE_STORE_CLOSED', 'the store closed before this was written')

export class Writer {
  readonly #options: WriterOptions
  readonly #waiting: Batch[] = []
  /** Logs whose last written records are not synced. */
  readonly #unsyncedLogs = new Set<StoredLog>()
  readonly #stop = new AbortController()
  #open: Batch
  #inFlight: Batch | undefined
  #flushScheduled = false
  #settleScheduled = false
  #cancelMemoryFlush: (() => void) | undefined
  #unsynced = false
  #waitingBytes = 0
  #closing = false
  #idle: (() => void)[] = []
  readonly #stats = { batches: 0, syncs: 0, transactions: 0, bytesWritten: 0 }

  constructor(options: WriterOptions) {
    this.#options = options
    this.#open = new Batch(options.lastBatch + 1)
  }

  get stats(): Readonly<{ batches: number; syncs: number; transactions: number; bytesWritten: number }> {
    return this.#stats
  }

  get closing(): boolean {
    return this.#closing
  }

  /** Number of the last batch that was begun and not left empty. */
  get lastBatch(): number {
    return this.#open.number - 1
  }

  /** Whether more may wait: its bound is not reached. */
  get hasRoom(): boolean {
    return this.#waitingBytes + this.#open.bytes < waitingMaxBytes
  }

  /** Batches whose effects are not in the database yet, newest first. */
  *pending(): Generator<Batch> {
    yield this.#open
    for (let index = this.#waiting.length - 1; index >= 0; index--) {
      const batch = this.#waiting[index]
      if (batch !== undefined) yield batch
    }
    if (this.#inFlight !== undefined) yield this.#inFlight
  }

  /** The batch to which a transaction of this size is to be added. */
  openFor(bytes: number, operations: number): Batch {
    const open = this.#open
    const full = open.bytes + bytes > batchMaxBytes || open.operations + operations > batchMaxOperations
    if (full && !open.isEmpty) this.#seal()
    return this.#open
  }

  /** Seals the open batch, so that what comes is in another one. */
  divide(): void {
    if (!this.#open.isEmpty) this.#seal()
    this.#schedule()
  }

  /** Hands over a transaction whose operations are in the open batch. */
  add(transaction: Transaction | undefined, done: Done | undefined): void {
    this.#open.wait(transaction, done)
    this.#schedule()
  }

  /** Writes the store's own upkeep with the next batch, or within `memoryDelayMs`. */
  addUpkeep(): void {
    this.#schedule()
  }

  /** Resolves when nothing is waiting to be written. */
  async flushed(): Promise<void> {
    if (this.#closing) throw closedError()
    this.#open.require('process')
    this.#flush(true)
    if (this.#inFlight === undefined && this.#waiting.length === 0) return
    await new Promise<void>((resolve, reject) => {
      this.#open.wait(undefined, error => (error === undefined ? resolve() : reject(error)))
      this.#schedule()
    })
  }

  /** Writes what is open, within `closeMaxMs`; what then still waits fails with FESCUE_STORE_CLOSED. */
  async close(): Promise<boolean> {
    if (this.#closing) return false
    this.#closing = true
    this.#cancelMemoryFlush?.()
    if (!this.#options.health.failing) {
      // A clean end keeps its epoch: nothing of it may be lost with the power afterwards.
      this.#open.require('power')
      this.#flush(true)
      await Promise.race([this.#drained(), sleep(this.#options.clock, closeMaxMs, this.#stop.signal)])
    }
    const clean = this.#inFlight === undefined && this.#waiting.length === 0 && this.#open.isEmpty
    this.#stop.abort()
    const rest = [this.#inFlight, ...this.#waiting, this.#open]
    this.#waiting.length = 0
    for (const batch of rest) batch?.settle(closedError())
    return clean
  }

  #drained(): Promise<void> {
    if (this.#inFlight === undefined) return Promise.resolve()
    return new Promise(resolve => this.#idle.push(resolve))
  }

  #seal(): void {
    const batch = this.#open
    this.#options.beforeSeal(batch)
    batch.seal()
    this.#waiting.push(batch)
    this.#waitingBytes += batch.bytes
    this.#open = new Batch(batch.number + 1)
  }

  #schedule(): void {
    if (this.#inFlight !== undefined) return
    if (this.#needsDisk(this.#open) || this.#waiting.length > 0) {
      if (this.#flushScheduled) return
      this.#flushScheduled = true
      setImmediate(() => {
        this.#flushScheduled = false
        this.#flush(false)
      })
    } else if (this.#open.waiting > 0 && !this.#settleScheduled && !this.#flushScheduled) {
      this.#settleScheduled = true
      queueMicrotask(() => {
        this.#settleScheduled = false
        if (this.#inFlight === undefined && this.#waiting.length === 0 && !this.#needsDisk(this.#open)) {
          this.#settleOpen()
        }
      })
    }
  }

  /** Whether a flush would write, not only report. */
  get #mustWriteNow(): boolean {
    if (this.#waiting.length > 0) return true
    return this.#needsDisk(this.#open) && (this.#closing || this.#open.durability !== 'memory')
  }

  #needsDisk(batch: Batch): boolean {
    return batch.hasWrites || (batch.durability === 'power' && this.#unsynced)
  }

  /** Starts the next batch when none is in flight. Class `memory` alone waits, unless `all`. */
  #flush(all: boolean): void {
    if (this.#inFlight !== undefined) return
    if (this.#waiting.length === 0) {
      const open = this.#open
      if (!this.#needsDisk(open)) this.#settleOpen()
      else if (open.durability === 'memory' && !all) this.#settleMemory()
      else this.#seal()
    }
    const batch = this.#waiting.shift()
    if (batch === undefined) return
    this.#waitingBytes -= batch.bytes
    this.#inFlight = batch
    void this.#write(batch)
  }

  /** Reports transactions that wrote nothing; all before them were reported. */
  #settleOpen(): void {
    const open = this.#open
    this.#stats.transactions += open.waiting
    // Before the callbacks: what they commit may ask for more.
    if (!open.hasWrites) open.durability = 'memory'
    open.settle()
  }

  /** Class `memory`: committed now, written with the next batch or after `memoryDelayMs`. */
  #settleMemory(): void {
    this.#cancelMemoryFlush ??= this.#options.clock.after(memoryDelayMs, () => {
      this.#cancelMemoryFlush = undefined
      this.#flush(true)
    })
    const moved = this.#open.commitOffsets()
    this.#settleOpen()
    for (const log of moved) log.emitAppend()
    for (const log of this.#open.truncated) log.emitRoom()
  }

  async #write(batch: Batch): Promise<void> {
    const operations = batch.seal()
    const sync = batch.durability === 'power'
    try {
      await this.#options.sink.write(batch.number, operations, sync)
    } catch (error) {
      if (!(await this.#writeAgain(batch, error))) return
    }
    const stats = this.#stats
    stats.batches += 1
    if (sync) stats.syncs += 1
    stats.bytesWritten += batch.bytes
    this.#options.health.wrote(batch.bytes)
    this.#written(batch, sync)
  }

  /** Tries until the disk takes the batch; false when the store closed meanwhile. */
  async #writeAgain(batch: Batch, cause: unknown): Promise<boolean> {
    const { backend, clock, health, logger, sink } = this.#options
    const backoff = new Backoff({ initialMs: 50, maxMs: retryMaxMs })
    let error = cause
    for (;;) {
      if (this.#stop.signal.aborted) return false
      logger.warn({ batch: batch.number, err: error }, 'a write failed; opening the database again')
      await health.failed(error)
      if (this.#closing) this.#stop.abort()
      try {
        if (this.#stop.signal.aborted) return false
        await sink.recover(batch.number)
        if (!(await holdsBatch(backend, batch.number))) {
          await sink.write(batch.number, batch.seal(), batch.durability === 'power')
        }
        if (this.#stop.signal.aborted) return false
        health.recovered()
        return true
      } catch (again) {
        error = again
      }
      await sleep(clock, backoff.nextMs(), this.#stop.signal)
    }
  }

  #written(batch: Batch, sync: boolean): void {
    const moved = batch.commitOffsets()
    for (const [log, chunk] of batch.chunks) {
      log.chunkWritten(chunk)
      this.#unsyncedLogs.add(log)
    }
    this.#unsynced = !sync
    if (sync) {
      for (const log of this.#unsyncedLogs) log.syncTo(log.written)
      this.#unsyncedLogs.clear()
    }
    this.#inFlight = undefined
    if (this.#stop.signal.aborted) return
    this.#stats.transactions += batch.waiting
    // The next write begins before the callbacks run; what needs none is reported after them.
    if (this.#mustWriteNow) this.#flush(this.#closing)
    batch.settle()
    for (const log of moved) log.emitAppend()
    for (const log of batch.truncated) log.emitRoom()
    this.#options.onWritten(batch)
    this.#schedule()
    if (this.#inFlight === undefined) for (const resolve of this.#idle.splice(0)) resolve()
  }
}
