/**
 * What the store does in the background, in small steps that ride on the next batch: deleting what lies below
 * a log's head, giving the space back, dropping what is too old, and writing the ledger's sums.
 *
 *   truncated log ──► trim: at most `trimStepBlocks` keys a step ──► enough deleted? compactRange
 *
 * The first key of a log is found from its remembered `trimmed` offset, never by scanning deleted keys.
 */
import type { Clock } from '#base/clock.ts'
import type { Logger } from '#base/logger.ts'
import type { Backend } from './backend.ts'
import type { Batch } from './batch.ts'
import { KeepLatest } from './keep-latest.ts'
import {
  blockKey,
  blockKeyOffset,
  checkpointPrefix,
  damagePrefix,
  prefixEnd,
  removedKey,
  spanPrefix,
} from './keys.ts'
import type { Ledger } from './ledger.ts'
import type { StoredLog } from './log.ts'
import type { Registry } from './registry.ts'
import type { Writer } from './writer.ts'

export interface UpkeepOptions {
  readonly backend: Backend
  readonly clock: Clock
  readonly logger: Logger
  readonly ledger: Ledger
  readonly registry: Registry
  readonly writer: Writer
}

/** Keys that one step, and one batch, deletes. */
export const trimStepBlocks = 512
/** Truncated logs are trimmed this much later, so that slow traffic does not delete keys one by one. */
const trimDelayMs = 500
const sweepEveryMs = 5_000
/** Deleted keys, or freed bytes, of a log after which their range is compacted. */
export const compactAfterKeys = 50_000
export const compactAfterBytes: number = 16 * 1024 * 1024
const noOffset = 2 ** 48 - 1
/** What a block of a removed log is taken for, whose sizes are forgotten. */
const removedBlockBytes = 16 * 1024

/** Deleted and not compacted yet. */
interface DeletedRange {
  readonly from: number
  to: number
  keys: number
  bytes: number
}

/** A log, or what is left of a removed one. */
interface Trimmable {
  readonly incarnation: number
  readonly log: StoredLog | undefined
  trimmed: number
}

export class Upkeep {
  readonly #options: UpkeepOptions
  readonly #dirty = new Set<StoredLog>()
  readonly #removed: Trimmable[] = []
  readonly #overfull = new Set<StoredLog>()
  readonly #keepLatest: KeepLatest
  readonly #deleted = new Map<number, DeletedRange>()
  #cancelTrim: (() => void) | undefined
  #cancelSweep: () => void = () => {}
  #running: Promise<void> | undefined
  /** Keys whose deletion is in the open batch, and whether more wait for the next one. */
  #stepBlocks = 0
  #waiting = false
  #closed = false

  constructor(options: UpkeepOptions) {
    this.#options = options
    this.#keepLatest = new KeepLatest(options)
  }

  start(): void {
    this.#cancelSweep = this.#options.clock.after(sweepEveryMs, () => {
      this.sweep()
      if (!this.#closed) this.start()
    })
  }

  close(): void {
    this.#closed = true
    this.#cancelSweep()
    this.#cancelTrim?.()
  }

  /** A batch was written: what it truncated may be deleted from now on. */
  written(batch: Batch): void {
    for (const log of batch.truncated) this.trimLater(log)
    this.#stepBlocks = 0
    if (this.#waiting) void this.trim()
    if (this.#overfull.size > 0) void this.trim()
    if (this.#options.ledger.hasCounts) this.#enterCounts()
  }

  trimLater(log: StoredLog): void {
    this.#dirty.add(log)
    if (this.#closed) return
    this.#cancelTrim ??= this.#options.clock.after(trimDelayMs, () => {
      this.#cancelTrim = undefined
      void this.trim()
    })
  }

  /** A `keep-latest` log is above its bounds. */
  overfull(log: StoredLog): void {
    this.#overfull.add(log)
  }

  /** Goes on deleting the blocks of a log that was removed before the last stop. */
  resume(incarnation: number, trimmed: number): void {
    this.#removed.push({ incarnation, log: undefined, trimmed })
    void this.trim()
  }

  /** Deletes what lies below the heads of all logs that were truncated. One run at a time. */
  trim(): Promise<void> {
    this.#running ??= this.#trimAll().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  /** Drops records that are older than their log's `maxAgeMs`, and writes sums to the ledger. */
  sweep(): void {
    const { clock, registry, writer } = this.#options
    if (writer.closing) return
    const now = clock.now()
    for (const log of registry.all()) {
      const { maxAgeMs } = log.limits
      if (maxAgeMs === undefined) continue
      for (let head = -1; log.mark().head > head; ) {
        head = log.mark().head
        const span = log.spans.oldest
        if (span === undefined || span.newest >= now - maxAgeMs) break
        registry.drop(writer.openFor(256, 4), log, log.spans.oldestEnd ?? log.next, 'age')
        writer.addUpkeep()
      }
    }
    this.#enterCounts()
  }

  #enterCounts(): void {
    const { registry, writer } = this.#options
    if (writer.closing) return
    registry.enterCounts(writer.openFor(256, 4), false)
    writer.addUpkeep()
  }

  async #trimAll(): Promise<void> {
    try {
      this.#waiting = false
      // Copies: a log whose step is spent goes back into its set, for the next batch.
      for (const log of [...this.#overfull]) {
        this.#overfull.delete(log)
        if (!this.#closed) await this.#keepLatest.compact(log)
      }
      for (const log of [...this.#dirty]) {
        this.#dirty.delete(log)
        if (log.removed) this.#removed.push({ incarnation: log.incarnation, log, trimmed: log.trimmed })
        else await this.#trimLog(log)
      }
      for (let gone = this.#removed[0]; gone !== undefined; gone = this.#removed[0]) {
        if (this.#isBusy || (await this.#removeStep(gone))) {
          this.#waiting = !this.#closed
          return
        }
        this.#removed.shift()
      }
    } catch (error) {
      // The disk fails: the writer says so; what is to be deleted is found again by the next trim.
      this.#options.logger.debug({ err: error }, 'trimming stopped')
    }
  }

  /** The open batch has its share of deletions. */
  get #isBusy(): boolean {
    return this.#closed || this.#stepBlocks >= trimStepBlocks
  }

  async #trimLog(log: StoredLog): Promise<void> {
    while (!this.#isBusy) if (!(await this.#trimStep(log))) return
    this.#dirty.add(log)
    this.#waiting = true
  }

  /** Deletes blocks that lie wholly below the head; true when there may be more. */
  async #trimStep(log: StoredLog): Promise<boolean> {
    const { backend, writer } = this.#options
    const head = Math.min(log.head, log.written)
    if (log.trimmed >= head) return false
    const gte = blockKey(log.incarnation, log.trimmed)
    const keys = await backend.keys({
      gte,
      lt: blockKey(log.incarnation, head + 1),
      limit: trimStepBlocks + 1,
    })
    if (this.#closed || log.removed || writer.closing) return false
    const last = keys.at(-1)
    // The last block below the head may reach above it; all before it end where the next begins.
    const to = head === log.written && last !== undefined && keys.length <= trimStepBlocks ? head : undefined
    const trimmed = to ?? (last === undefined ? head : blockKeyOffset(last))
    const deleted = keys.filter(key => blockKeyOffset(key) < trimmed)
    if (deleted.length === 0 && trimmed === log.trimmed) return false
    const batch = writer.openFor(deleted.length * 16, deleted.length)
    for (const key of deleted) batch.raw.push({ type: 'del', key })
    batch.operations += deleted.length
    batch.bytes += deleted.length * 16
    this.#stepBlocks += deleted.length
    const from = log.trimmed
    log.trimmed = trimmed
    batch.touched.add(log)
    writer.addUpkeep()
    // The freed bytes lie evenly between the old mark and the head, as far as this is known.
    const freed = Math.round((log.freedBytes * (trimmed - from)) / Math.max(1, head - from))
    log.freedBytes -= freed
    await this.#noteDeleted(log.incarnation, { from, to: trimmed, keys: deleted.length, bytes: freed })
    return keys.length > trimStepBlocks
  }

  /** Deletes blocks, then the small keys, then the mark of a removed log; true when there may be more. */
  async #removeStep(gone: Trimmable): Promise<boolean> {
    const { backend, writer } = this.#options
    const { incarnation } = gone
    await writer.flushed()
    const blocks = await backend.keys({
      gte: blockKey(incarnation, gone.trimmed),
      lt: blockKey(incarnation, noOffset),
      limit: trimStepBlocks,
    })
    const keys = blocks.length > 0 ? blocks : await this.#smallKeys(incarnation)
    if (this.#closed || writer.closing) return false
    const batch = writer.openFor(keys.length * 24, keys.length)
    for (const key of keys) batch.raw.push({ type: 'del', key })
    if (keys.length === 0) batch.values.set(removedKey(incarnation), undefined)
    this.#stepBlocks += keys.length
    writer.addUpkeep()
    const from = gone.trimmed
    const last = blocks.at(-1)
    if (last !== undefined) gone.trimmed = blockKeyOffset(last) + 1
    const to = gone.trimmed
    await this.#noteDeleted(incarnation, {
      from,
      to,
      keys: blocks.length,
      bytes: blocks.length * removedBlockBytes,
    })
    if (keys.length === 0) this.#deleted.delete(incarnation)
    return keys.length > 0
  }

  async #smallKeys(incarnation: number): Promise<Buffer[]> {
    const prefixes = [checkpointPrefix(incarnation), spanPrefix(incarnation), damagePrefix(incarnation)]
    for (const prefix of prefixes) {
      const query = { gte: Buffer.from(prefix), lt: prefixEnd(prefix), limit: trimStepBlocks }
      const keys = await this.#options.backend.keys(query)
      if (keys.length > 0) return keys
    }
    return []
  }

  /** Compacts a log's deleted range when enough of it came together, in pieces that a stop can wait for. */
  async #noteDeleted(incarnation: number, deleted: DeletedRange): Promise<void> {
    const known = this.#deleted.get(incarnation) ?? { from: deleted.from, to: 0, keys: 0, bytes: 0 }
    known.to = deleted.to
    known.keys += deleted.keys
    known.bytes += deleted.bytes
    this.#deleted.set(incarnation, known)
    if (known.keys < compactAfterKeys && known.bytes < compactAfterBytes) return
    this.#deleted.delete(incarnation)
    await this.#options.writer.flushed() // Before the deletions are written there is nothing to give back.
    if (this.#closed) return
    await this.#options.backend.compactRange(
      blockKey(incarnation, known.from),
      blockKey(incarnation, known.to),
    )
  }
}
