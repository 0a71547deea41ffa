/**
 * One commit log: its offsets, bounds, recent records and listeners. No disk here: `log-reader.ts` reads,
 * the writer writes what this class was told, `trimmer.ts` deletes what lies below `head`.
 *
 *   trimmed     head              written   end    next
 *      │          │                  │       │       │
 *      [ deleted  ][ kept ...........][ memory class ][ open and waiting batches ]
 *
 * `end` moves when a batch is committed. A batch of class `memory` commits before it is written, so `written`
 * may lag behind `end`; what lies between is in `#chunks` and cannot be evicted.
 */
import type { Epoch, Incarnation, Offset } from '#base/ids.ts'
import type { CommitLog, LogLimits, LostRange, ReadLimits, ReadResult, Room } from './commit-log.ts'
import type { LogRecord, RecordInput } from './record.ts'
import { identified, recordBytes } from './record-codec.ts'
import { type Span, Spans } from './spans.ts'
import type { Chunk, TailCache } from './tail-cache.ts'

/** What is stored under the log's mark key. */
export interface LogMark {
  readonly head: Offset
  readonly end: Offset
  readonly trimmed: Offset
}

/** Offsets [from, …) that carry another epoch than their block's: see `Store.startEpoch`. */
export interface Restamp {
  readonly from: Offset
  readonly to: Offset
  readonly epoch: Epoch
}

/** Ranges kept of a log, oldest forgotten first: each is the mark of a rollback. */
const restampsMax = 64

export interface LogDeps {
  readonly cache: TailCache
  /** Reads from disk. */
  read(log: StoredLog, from: Offset, limits: ReadLimits): Promise<ReadResult>
  /** The limits changed. */
  limitsChanged(log: StoredLog): void
}

export class StoredLog implements CommitLog {
  readonly name: string
  readonly incarnation: Incarnation
  readonly spans: Spans
  readonly #deps: LogDeps
  readonly #chunks: Chunk[] = []
  readonly #appendListeners = new Set<() => void>()
  readonly #roomListeners = new Set<() => void>()
  /** Damaged ranges that the ledger has; bounded by `damagedRangesMax`. */
  readonly damaged: LostRange[] = []
  #restamps: readonly Restamp[] = []
  #limits: LogLimits
  #head: Offset
  #end: Offset
  #next: Offset
  #synced: Offset
  #written: Offset
  trimmed: Offset
  removed = false
  /** Bytes that retention and truncation let go since the log's range was last compacted. */
  freedBytes = 0
  /** Whether `room` answered `wait` since room last appeared. */
  #waitedFor = false

  constructor(name: string, incarnation: Incarnation, limits: LogLimits, mark: LogMark, deps: LogDeps) {
    this.name = name
    this.incarnation = incarnation
    this.spans = new Spans(limits)
    this.#limits = limits
    this.#deps = deps
    this.#head = mark.head
    this.#end = mark.end
    this.#next = mark.end
    this.#synced = mark.end
    this.#written = mark.end
    this.trimmed = mark.trimmed
  }

  get limits(): LogLimits {
    return this.#limits
  }

  get head(): Offset {
    return Math.min(this.#head, this.#end)
  }

  get end(): Offset {
    return this.#end
  }

  get synced(): Offset {
    return this.#synced
  }

  /** All offsets below are in the database. */
  get written(): Offset {
    return this.#written
  }

  /** The offset that the next append gets. */
  get next(): Offset {
    return this.#next
  }

  get records(): number {
    return this.spans.records
  }

  get bytes(): number {
    return this.spans.bytes
  }

  get oldestAt(): number | undefined {
    return this.spans.oldest?.oldest
  }

  get full(): boolean {
    const { maxBytes, maxRecords } = this.#limits
    return this.bytes > maxBytes || (maxRecords !== undefined && this.records > maxRecords)
  }

  room(bytes: number, canWait: boolean): Room {
    const { maxBytes, maxRecords, overflow } = this.#limits
    const { spans } = this
    const fits = spans.bytes + bytes <= maxBytes && (maxRecords === undefined || spans.records < maxRecords)
    if (fits || spans.records === 0) return 'fits'
    if (overflow === 'drop-newest') return 'drop-newest'
    if (overflow !== 'block') return 'drop-oldest'
    if (!canWait) return 'drop-newest'
    this.#waitedFor = true
    return 'wait'
  }

  setLimits(limits: LogLimits): void {
    this.#limits = limits
    this.spans.limits = limits
    this.#deps.limitsChanged(this)
  }

  onAppend(listener: () => void): () => void {
    return subscribe(this.#appendListeners, listener)
  }

  onRoom(listener: () => void): () => void {
    return subscribe(this.#roomListeners, listener)
  }

  readCached(from: Offset, limits: ReadLimits): ReadResult | undefined {
    let at = Math.max(from, this.head)
    if (at >= this.#end) return { records: [], next: at, lost: [] }
    let index = this.#chunkOf(at)
    if (index < 0) return undefined
    const records: LogRecord[] = []
    let bytes = 0
    for (let chunk = this.#chunks[index]; chunk !== undefined; chunk = this.#chunks[++index]) {
      for (let inside = at - chunk.first; inside < chunk.records.length; inside++) {
        const record = chunk.records[inside]
        const size = chunk.sizes[inside] ?? 0
        const full =
          records.length >= limits.maxRecords || (records.length > 0 && bytes + size > limits.maxBytes)
        if (record === undefined || at >= this.#end || full) return { records, next: at, lost: [] }
        records.push(record)
        bytes += size
        at += 1
      }
    }
    return { records, next: at, lost: [] }
  }

  read(from: Offset, limits: ReadLimits): Promise<ReadResult> {
    const cached = this.readCached(from, limits)
    return cached === undefined ? this.#deps.read(this, from, limits) : Promise.resolve(cached)
  }

  /** For the writer: begins what a new batch appends. */
  beginChunk(epoch: Epoch): Chunk {
    const forget = (chunk: Chunk) => this.#forget(chunk)
    const chunk = { first: this.#next, epoch, records: [], sizes: [], bytes: 0, written: false, forget }
    this.#chunks.push(chunk)
    return chunk
  }

  /** For the writer: gives the next offset. Returns the span that this record closed. */
  append(chunk: Chunk, input: RecordInput): { offset: Offset; bytes: number; closed: Span | undefined } {
    const offset = this.#next++
    const bytes = recordBytes(input)
    const record = identified(input, chunk.epoch, offset)
    chunk.records.push(record)
    chunk.sizes.push(bytes)
    chunk.bytes += bytes
    return { offset, bytes, closed: this.spans.add(offset, bytes, record.time) }
  }

  /** For the writer: moves `head` up; returns the spans that are gone as a whole. */
  dropTo(to: Offset): Span[] {
    const target = Math.min(to, this.#next)
    if (target <= this.#head) return []
    this.#head = target
    const before = this.spans.bytes
    const gone = this.spans.dropTo(target, this.#next)
    this.freedBytes += before - this.spans.bytes
    for (let chunk = this.#chunks[0]; chunk?.written; chunk = this.#chunks[0]) {
      if (chunk.first + chunk.records.length > this.#head) break
      this.#chunks.shift()
      this.#deps.cache.remove(chunk)
    }
    return gone
  }

  /** The mark as the open batch leaves it. */
  mark(): LogMark {
    return { head: this.#head, end: this.#next, trimmed: this.trimmed }
  }

  /** For the writer: what lies below `to` is committed. Returns whether that is new. */
  commitTo(to: Offset): boolean {
    if (to <= this.#end) return false
    this.#end = to
    return true
  }

  /** For the writer: a chunk's batch is in the database. */
  chunkWritten(chunk: Chunk): void {
    chunk.written = true
    this.#written = Math.max(this.#written, chunk.first + chunk.records.length)
    if (this.#written <= this.#head || this.removed) this.#forget(chunk)
    else this.#deps.cache.add(chunk)
  }

  /** For the writer: all that was written so far is synced. */
  syncTo(to: Offset): void {
    this.#synced = Math.max(this.#synced, to)
  }

  emitAppend(): void {
    for (const listener of this.#appendListeners) listener()
  }

  /** Tells those who waited, when there is room again. */
  emitRoom(): void {
    if (!this.#waitedFor || this.full) return
    this.#waitedFor = false
    // Who finds too little room listens again from within: not in this round.
    for (const listener of [...this.#roomListeners]) listener()
  }

  get restamps(): readonly Restamp[] {
    return this.#restamps
  }

  /** Offsets of a range count to another epoch from now on. */
  restamp(restamp: Restamp): void {
    this.#restamps = [...this.#restamps, restamp].slice(-restampsMax)
    for (const chunk of this.#chunks)
      for (const record of chunk.records)
        if (record.offset >= restamp.from && record.offset < restamp.to) record.epoch = restamp.epoch
  }

  /** Lets go of all cached records that are on disk too. */
  dropCache(): void {
    for (const chunk of this.#chunks.filter(candidate => candidate.written)) {
      this.#deps.cache.remove(chunk)
      this.#forget(chunk)
    }
  }

  #forget(chunk: Chunk): void {
    if (this.#chunks[0] === chunk) this.#chunks.shift()
    else {
      const index = this.#chunks.indexOf(chunk)
      if (index >= 0) this.#chunks.splice(index, 1)
    }
  }

  /** Index of the chunk that holds an offset, or -1. */
  #chunkOf(offset: Offset): number {
    let low = 0
    let high = this.#chunks.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#chunks[middle]?.first ?? 0) <= offset) low = middle + 1
      else high = middle
    }
    const chunk = this.#chunks[low - 1]
    return chunk !== undefined && offset < chunk.first + chunk.records.length ? low - 1 : -1
  }
}

function subscribe(listeners: Set<() => void>, listener: () => void): () => void {
  const own = () => listener()
  listeners.add(own)
  return () => {
    listeners.delete(own)
  }
}
