/**
 * The store: applies transactions to the writer's open batch and answers reads from pending batches, memory
 * and disk. What operations on logs do is in `registry.ts`, how batches reach the disk in `writer.ts`, how a
 * store comes up in `open.ts`.
 */
import type { Clock } from '#base/clock.ts'
import { FescueError } from '#base/errors.ts'
import type { Epoch, Offset } from '#base/ids.ts'
import type { Backend } from './backend.ts'
import type { Batch, Done } from './batch.ts'
import type { CheckpointState } from './checkpoint.ts'
import { decodeCheckpoint } from './checkpoint-codec.ts'
import type { CommitLog, LogLimits } from './commit-log.ts'
import type { Epochs } from './epochs.ts'
import type { Health } from './health.ts'
import { checkpointKey, documentKey, documentPrefix, meta, quarantineKey, timerKey } from './keys.ts'
import { type Ledger, ledgerLog } from './ledger.ts'
import { StoredLog } from './log.ts'
import { logsMax, type Registry } from './registry.ts'
import type { SalvageNote } from './salvage-note.ts'
import type { Sink } from './sink.ts'
import type { EpochEntry, EpochReason, Store, StoreHealth, StoreStats } from './store.ts'
import type { TimerIndex } from './timer-index.ts'
import { timersMax } from './timer-index.ts'
import type { Timer } from './timers.ts'
import type { Operation, Transaction } from './transaction.ts'
import type { Upkeep } from './upkeep.ts'
import { checkSpace, type ValueReader } from './value-reader.ts'
import { transactionMaxBytes, transactionMaxOperations, type Writer } from './writer.ts'

export interface LocalStoreParts {
  readonly backend: Backend
  readonly clock: Clock
  readonly epochs: Epochs
  readonly health: Health
  readonly ledger: Ledger
  readonly registry: Registry
  readonly sink: Sink
  readonly timers: TimerIndex
  readonly upkeep: Upkeep
  readonly values: ValueReader
  readonly writer: Writer
  /** Writes the marker of a clean end, after all else. */
  readonly finish: () => Promise<void>
  readonly lastSalvage: () => SalvageNote | undefined
}

/** Longest that closing waits for the database itself (a compaction ends first), and over a disk that fails. */
const closeMaxMs = 3_000
const closeFailingMaxMs = 400

const closedError = (): FescueError => new FescueError('FESCUE_STORE_CLOSED', 'the store is closed')

export class LocalStore implements Store {
  readonly #parts: LocalStoreParts
  #closed: Promise<void> | undefined
  #volatile = false

  constructor(parts: LocalStoreParts) {
    this.#parts = parts
  }

  get epoch(): Epoch {
    return this.#parts.epochs.current
  }

  get epochs(): readonly EpochEntry[] {
    return this.#parts.epochs.all
  }

  get health(): StoreHealth {
    return this.#parts.health.current
  }

  get lastSalvage(): SalvageNote | undefined {
    return this.#parts.lastSalvage()
  }

  get stats(): StoreStats {
    return { ...this.#parts.writer.stats, lost: { ...this.#parts.ledger.totals } }
  }

  get ledger(): CommitLog {
    const log = this.findLog(ledgerLog)
    if (log === undefined) throw closedError()
    return log
  }

  get accepting(): boolean {
    const { health, writer } = this.#parts
    return health.current.state === 'ok' && !writer.closing && writer.hasRoom
  }

  setFreeDiskMin(bytes: number): Promise<void> {
    return this.#parts.health.setFloor(bytes)
  }

  onHealth(listener: (health: StoreHealth) => void): () => void {
    return this.#parts.health.onChange(listener)
  }

  log(name: string, limits: LogLimits): CommitLog {
    const { registry, writer } = this.#parts
    const known = registry.find(name)
    if (known !== undefined) {
      if (!sameLimits(known.limits, limits)) known.setLimits(limits)
      return known
    }
    if (writer.closing) throw closedError()
    if (registry.size >= logsMax) {
      throw new FescueError(
        'FESCUE_STORE_FULL',
        `the store has ${logsMax} logs already: remove sessions or routes`,
      )
    }
    const log = registry.create(writer.openFor(256, 3), name, limits)
    writer.addUpkeep()
    return log
  }

  findLog(name: string): CommitLog | undefined {
    return this.#parts.registry.find(name)
  }

  logs(): Iterable<CommitLog> {
    return this.#parts.registry.all()
  }

  removeLog(log: CommitLog): Promise<void> {
    const { registry, writer } = this.#parts
    return this.#inBatch(() => {
      const batch = writer.openFor(256, 4)
      registry.remove(batch, stored(log))
      batch.require('process')
    })
  }

  commit(transaction: Transaction, done?: Done): void {
    const { writer } = this.#parts
    const { operations } = transaction
    const bytes = this.#check(operations)
    if (writer.closing) {
      if (done !== undefined) queueMicrotask(() => done(closedError()))
      return
    }
    const batch = writer.openFor(bytes, operations.length)
    batch.operations += operations.length
    for (const operation of operations) this.#apply(batch, operation)
    batch.require(transaction.durability)
    if (transaction.durability === 'memory' && operations.length > 0) this.#noteVolatile(batch)
    writer.add(transaction, done)
  }

  write(transaction: Transaction): Promise<void> {
    return new Promise((resolve, reject) => {
      this.commit(transaction, error => (error === undefined ? resolve() : reject(error)))
    })
  }

  sync(): Promise<void> {
    const { writer } = this.#parts
    return this.#inBatch(() => writer.openFor(0, 0).require('power'))
  }

  async startEpoch(reason: EpochReason, unsent: ReadonlyMap<CommitLog, Offset> = new Map()): Promise<Epoch> {
    const { epochs, registry, writer } = this.#parts
    await this.#inBatch(() => {
      writer.divide()
      const batch = writer.openFor(1024, 2)
      const froms = new Map([...unsent].map(([log, from]) => [stored(log), from]))
      epochs.start(reason, registry.all(), froms)
      batch.values.set(meta.epochs, epochs.encode())
      batch.require('power')
    })
    return epochs.current
  }

  async checkpoint(log: CommitLog, consumer: string): Promise<CheckpointState> {
    const { values, writer } = this.#parts
    const key = checkpointKey(log.incarnation, consumer)
    for (const batch of writer.pending()) {
      const state = batch.checkpoints.get(key)
      if (state !== undefined) return state
    }
    const bytes = await values.get(key)
    return bytes === undefined ? { low: log.head, done: [], retries: [] } : decodeCheckpoint(bytes)
  }

  get(space: string, key: string): Promise<Buffer | undefined> {
    return this.#parts.values.get(documentKey(space, key))
  }

  list(space: string, prefix = ''): AsyncIterable<{ key: string; value: Buffer }> {
    return this.#parts.values.list(documentPrefix(space), prefix)
  }

  async timersDue(kind: string, now: number, limit: number): Promise<readonly Timer[]> {
    const { timers, values } = this.#parts
    const due: Timer[] = []
    for (const id of timers.due(kind, now, limit)) {
      const bytes = await values.get(timerKey(id))
      if (bytes === undefined) continue
      due.push(JSON.parse(bytes.toString()))
    }
    return due
  }

  async nextTimerAt(kind: string): Promise<number | undefined> {
    return this.#parts.timers.nextAt(kind)
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  /** A value that failed its checksum is put aside, counted, and gone from its place. */
  setAside(key: string, raw: Buffer): void {
    const { registry, writer } = this.#parts
    if (writer.closing) return
    const batch = writer.openFor(raw.length, 3)
    if (raw.length > 0) {
      batch.values.set(quarantineKey(key), raw)
      batch.values.set(key, undefined)
    }
    const log = key.startsWith('D') ? `documents.${key.slice(1, key.indexOf('\0'))}` : 'documents'
    registry.lose(batch, { log, incarnation: 0, from: 0, to: 0, records: 1, reason: 'damaged' })
    batch.require('process')
    writer.addUpkeep()
  }

  async #close(): Promise<void> {
    const { clock, health, registry, upkeep, writer } = this.#parts
    upkeep.close()
    if (!writer.closing) registry.enterCounts(writer.openFor(1024, 8), true)
    const isClean = await writer.close()
    health.close()
    const ended = this.#end(isClean)
    // A failing disk may hold the close for as long as it likes; the process ends without it.
    let cancel = (): void => {}
    const waited = new Promise<void>(resolve => {
      cancel = clock.after(isClean ? closeMaxMs : closeFailingMaxMs, resolve)
    })
    await Promise.race([ended, waited])
    cancel()
  }

  /** Each step is tried whatever became of the one before; a store that is left unclean recovers at open. */
  async #end(isClean: boolean): Promise<void> {
    const { backend, finish, sink } = this.#parts
    if (isClean) await finish().catch(() => {})
    await sink.close().catch(() => {})
    await backend.close().catch(() => {})
  }

  /** Runs `change` on the open batch and resolves when that is written. */
  #inBatch(change: () => void): Promise<void> {
    const { writer } = this.#parts
    if (writer.closing) return Promise.reject(closedError())
    return new Promise((resolve, reject) => {
      change()
      writer.add(undefined, error => (error === undefined ? resolve() : reject(error)))
    })
  }

  /** Bytes of a transaction; throws when it exceeds a bound, before anything of it is applied. */
  #check(operations: readonly Operation[]): number {
    let bytes = 0
    let timers = 0
    for (const operation of operations) {
      if (operation.type === 'append') bytes += operation.record.payload.length
      else if (operation.type === 'put') bytes += operation.value.length
      else if (operation.type === 'schedule') timers += 1
    }
    if (bytes > transactionMaxBytes || operations.length > transactionMaxOperations) {
      throw new FescueError(
        'FESCUE_TRANSACTION_TOO_LARGE',
        `a transaction of ${bytes} bytes and ${operations.length} operations: ` +
          `at most ${transactionMaxBytes} and ${transactionMaxOperations}`,
      )
    }
    if (timers > 0 && this.#parts.timers.size + timers > timersMax) {
      throw new FescueError('FESCUE_STORE_FULL', `more than ${timersMax} timers: cancel some`)
    }
    return bytes
  }

  /** The first records of class `memory` in a run are written at once, with the note that such were given out. */
  #noteVolatile(batch: Batch): void {
    if (this.#volatile || batch.chunks.size === 0) return
    this.#volatile = true
    batch.values.set(meta.volatile, Buffer.from('1'))
    batch.require('process')
  }

  #apply(batch: Batch, operation: Operation): void {
    const { registry, timers } = this.#parts
    switch (operation.type) {
      case 'append':
        operation.offset = registry.append(batch, stored(operation.log), operation.record)
        return
      case 'truncate':
        registry.truncate(batch, stored(operation.log), operation.to)
        return
      case 'checkpoint': {
        if (stored(operation.log).removed) return
        batch.checkpoints.set(checkpointKey(operation.log.incarnation, operation.consumer), operation.state)
        return
      }
      case 'put':
        checkSpace(operation.space)
        batch.values.set(documentKey(operation.space, operation.key), operation.value)
        batch.bytes += operation.value.length + operation.key.length
        return
      case 'delete':
        batch.values.set(documentKey(operation.space, operation.key), undefined)
        return
      case 'schedule': {
        const { id, kind, dueAt } = operation.timer
        timers.set(id, kind, dueAt)
        batch.values.set(timerKey(id), Buffer.from(JSON.stringify(operation.timer)))
        return
      }
      case 'cancel':
        if (timers.delete(operation.timerId)) batch.values.set(timerKey(operation.timerId), undefined)
        return
      case 'lose':
        registry.lose(batch, operation)
        return
    }
  }
}

function stored(log: CommitLog): StoredLog {
  if (log instanceof StoredLog) return log
  throw new FescueError('FESCUE_INTERNAL', `log ${log.name} is not of this store`)
}

function sameLimits(a: LogLimits, b: LogLimits): boolean {
  return (
    a.maxBytes === b.maxBytes &&
    a.maxRecords === b.maxRecords &&
    a.maxAgeMs === b.maxAgeMs &&
    a.overflow === b.overflow
  )
}
