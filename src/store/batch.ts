/**
 * What goes to disk in one piece: it fills while it is open, is encoded when it is sealed, and is kept until
 * it was written, so that readers see what is under way.
 *
 *   open: add(…) ──► sealed: operations ──► written ──► settle(): callbacks in order
 *
 * A batch of class `memory` may settle its transactions while it is still open.
 */

import type { FescueError } from '#base/errors.ts'
import type { Epoch } from '#base/ids.ts'
import type { BackendOperation } from './backend.ts'
import { blockMaxBytes, encodeBlock } from './block.ts'
import type { CheckpointState } from './checkpoint.ts'
import { encodeCheckpoint } from './checkpoint-codec.ts'
import { batchNumberKey, markKey } from './keys.ts'
import type { Loss } from './ledger.ts'
import type { StoredLog } from './log.ts'
import { encodeMark } from './log-codec.ts'
import type { LogRecord } from './record.ts'
import type { Chunk } from './tail-cache.ts'
import { type Durability, stronger, type Transaction } from './transaction.ts'
import { seal } from './values.ts'

export type Done = (error?: FescueError) => void

interface Entry {
  readonly transaction: Transaction | undefined
  readonly done: Done | undefined
}

export class Batch {
  readonly number: number
  durability: Durability = 'memory'
  /** Bytes and operations as counted towards the batch's bounds. */
  bytes = 0
  operations = 0
  /** What this batch appends, by log. */
  readonly chunks = new Map<StoredLog, Chunk>()
  /** Logs whose mark changes. */
  readonly touched = new Set<StoredLog>()
  /** Logs whose head moved. */
  readonly truncated = new Set<StoredLog>()
  /** Text keys to value or, for deletions, undefined; the last write wins. Values get their checksum when sealed. */
  readonly values = new Map<string, Buffer | undefined>()
  readonly checkpoints = new Map<string, CheckpointState>()
  /** Binary operations, made by the store's own upkeep. */
  readonly raw: BackendOperation[] = []
  /** Losses to be entered when the batch is sealed; neighbouring ranges of one log are one entry. */
  readonly losses = new Map<string, Loss>()
  #entries: Entry[] = []
  #sealed: readonly BackendOperation[] | undefined

  constructor(number: number) {
    this.number = number
  }

  /** Nothing to write and nobody waiting. */
  get isEmpty(): boolean {
    return this.#entries.length === 0 && !this.hasWrites
  }

  get hasWrites(): boolean {
    return (
      this.touched.size > 0 ||
      this.values.size > 0 ||
      this.checkpoints.size > 0 ||
      this.raw.length > 0 ||
      this.losses.size > 0
    )
  }

  /** Transactions that were not reported yet. */
  get waiting(): number {
    return this.#entries.length
  }

  require(durability: Durability): void {
    this.durability = stronger(this.durability, durability)
  }

  wait(transaction: Transaction | undefined, done: Done | undefined): void {
    this.#entries.push({ transaction, done })
  }

  chunk(log: StoredLog, epoch: Epoch): Chunk {
    let chunk = this.chunks.get(log)
    if (chunk === undefined) {
      chunk = log.beginChunk(epoch)
      this.chunks.set(log, chunk)
      this.touched.add(log)
      this.operations += 2
    }
    return chunk
  }

  /** Moves the offsets that this batch committed; returns the logs whose end moved. */
  commitOffsets(): StoredLog[] {
    const moved: StoredLog[] = []
    for (const [log, chunk] of this.chunks)
      if (log.commitTo(chunk.first + chunk.records.length)) moved.push(log)
    return moved
  }

  /**
   * Reports the transactions that wait, in order. A callback that throws does not stop the others; what a callback
   * adds to this batch, still open, is not among them.
   */
  settle(error?: FescueError): void {
    // A batch of class `memory` may stay open long: what was reported must not be kept with it.
    const entries = this.#entries
    this.#entries = []
    for (const { transaction, done } of entries) {
      try {
        if (error === undefined) transaction?.runCommitted()
        done?.(error)
      } catch (defect) {
        queueMicrotask(() => {
          throw defect
        })
      }
    }
  }

  /** The operations for the backend; encodes on first call, when nothing is added any more. */
  seal(): readonly BackendOperation[] {
    this.#sealed ??= this.#encode()
    return this.#sealed
  }

  #encode(): BackendOperation[] {
    const operations: BackendOperation[] = []
    const put = (key: string, value: Buffer) => {
      operations.push({ type: 'put', key: Buffer.from(key), value: seal(key, value) })
    }
    for (const [log, chunk] of this.chunks) if (!log.removed) encodeChunk(log, chunk, operations)
    for (const log of this.touched) {
      if (!log.removed) put(markKey(log.incarnation), encodeMark(log.mark(), log.spans.newest))
    }
    for (const [key, state] of this.checkpoints) put(key, encodeCheckpoint(state))
    for (const [key, value] of this.values) {
      if (value === undefined) operations.push({ type: 'del', key: Buffer.from(key) })
      else put(key, value)
    }
    operations.push(...this.raw)
    const number = Buffer.allocUnsafe(6)
    number.writeUIntBE(this.number, 0, 6)
    put(batchNumberKey(this.number), number)
    return operations
  }
}

/** One block, or several when a log gets more than `blockMaxBytes` in one batch. */
function encodeChunk(log: StoredLog, chunk: Chunk, operations: BackendOperation[]): void {
  let start = 0
  let bytes = 0
  const flush = (end: number) => {
    const records =
      start === 0 && end === chunk.records.length ? chunk.records : chunk.records.slice(start, end)
    const payloads: number[] = []
    const block = encodeBlock(log.incarnation, records, bytes, (_record, at) => payloads.push(at))
    keepPayloads(records, payloads, block.value)
    operations.push({ type: 'put', ...block })
    start = end
    bytes = 0
  }
  for (let index = 0; index < chunk.records.length; index++) {
    const size = chunk.sizes[index] ?? 0
    if (bytes > 0 && bytes + size > blockMaxBytes) flush(index)
    bytes += size
  }
  flush(chunk.records.length)
}

/**
 * A cached record must not keep a whole socket read of 64 KiB alive for its 200 bytes: if its payload is a
 * small part of a larger buffer, it moves to the block, which the cache counts.
 */
function keepPayloads(records: readonly LogRecord[], payloads: readonly number[], block: Buffer): void {
  for (let index = 0; index < records.length; index++) {
    const record = records[index] as { payload: Buffer } | undefined
    const at = payloads[index]
    if (record === undefined || at === undefined) continue
    const { length, buffer } = record.payload
    if (buffer.byteLength > 4 * length + 512) record.payload = block.subarray(at, at + length)
  }
}
