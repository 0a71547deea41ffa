/**
 * Reads records from disk and finds damage.
 *
 *   from ──► the block that holds it ──► following blocks ──► limits reached, or `written`
 *
 * A block that fails its checksum, or a hole between blocks that retention did not make, is a lost range: it
 * is passed over, and reported once. Blocks below the cursor that overlap it are leftovers and ignored.
 */
import type { Epoch, Offset } from '#base/ids.ts'
import type { Backend, Entry } from './backend.ts'
import { BlockReader, blockMaxBytes } from './block.ts'
import type { LostRange, ReadLimits, ReadResult } from './commit-log.ts'
import { blockKey, blockKeyOffset } from './keys.ts'
import type { StoredLog } from './log.ts'
import type { LogRecord } from './record.ts'

/** Blocks fetched in one look. */
const blocksMax = 256

export class LogReader {
  readonly #backend: Backend
  readonly #onLost: (log: StoredLog, ranges: readonly LostRange[]) => void

  constructor(backend: Backend, onLost: (log: StoredLog, ranges: readonly LostRange[]) => void) {
    this.#backend = backend
    this.#onLost = onLost
  }

  async read(log: StoredLog, from: Offset, limits: ReadLimits): Promise<ReadResult> {
    const start = Math.max(from, log.head)
    const upTo = log.written
    if (start >= upTo || log.removed) return { records: [], next: start, lost: [] }
    const fetchBytes = Math.min(limits.maxBytes, wantedBytes(log, limits))
    const { entries, isAll } = await this.#look(log, start, upTo, fetchBytes)
    const pass = new Pass(log, start, upTo, limits)
    let isFull = false
    for (const [index, entry] of entries.entries()) {
      const following = entries[index + 1]
      isFull = pass.take(entry, following === undefined ? isAll && upTo : blockKeyOffset(following[0]))
      if (isFull) break
    }
    if (!isFull && isAll) pass.gap(upTo)
    const result = pass.result(log.head)
    if (result.lost.length > 0) this.#onLost(log, result.lost)
    return result
  }

  /** Blocks from the one that holds `start`; `isAll` when nothing follows them below `upTo`. */
  async #look(
    log: StoredLog,
    start: Offset,
    upTo: Offset,
    maxBytes: number,
  ): Promise<{ entries: Entry[]; isAll: boolean }> {
    const { incarnation } = log
    const query = {
      gte: blockKey(incarnation, start),
      lt: blockKey(incarnation, upTo),
      limit: blocksMax,
      maxBytes,
    }
    const entries = await this.#backend.range(query)
    const bytes = entries.reduce((sum, [key, value]) => sum + key.length + value.length, 0)
    const isAll = entries.length < blocksMax && bytes < maxBytes
    const first = entries[0]
    if (first !== undefined && blockKeyOffset(first[0]) === start) return { entries, isAll }
    const before = await this.#backend.range({
      gte: blockKey(incarnation, Math.min(log.trimmed, start)),
      lt: blockKey(incarnation, start),
      limit: 1,
      reverse: true,
    })
    return { entries: [...before, ...entries], isAll }
  }
}

/** Bytes that hold about as many records as asked for, by the log's mean. */
function wantedBytes(log: StoredLog, limits: ReadLimits): number {
  const mean = log.records === 0 ? blockMaxBytes : log.bytes / log.records
  return Math.max(4096, Math.ceil(mean * limits.maxRecords))
}

/** One pass over blocks: collects records and holes. */
class Pass {
  readonly #log: StoredLog
  readonly #upTo: Offset
  readonly #limits: ReadLimits
  readonly #records: LogRecord[] = []
  readonly #lost: LostRange[] = []
  #bytes = 0
  #next: Offset

  constructor(log: StoredLog, start: Offset, upTo: Offset, limits: ReadLimits) {
    this.#log = log
    this.#next = start
    this.#upTo = upTo
    this.#limits = limits
  }

  /** Takes a block; true when the pass ends. `end`: where what follows begins, false when that is not known. */
  take([key, value]: Entry, end: Offset | false): boolean {
    const block = BlockReader.open(key, value)
    if (block === undefined) {
      const first = Math.max(blockKeyOffset(key), this.#next)
      // Without the next block's key the end is not known: one offset is passed, and the next look begins there.
      this.gap(end === false ? first + 1 : end)
      return end === false
    }
    if (block.end <= this.#next) return false
    if (block.first > this.#next) this.gap(block.first)
    return this.#takeRecords(block)
  }

  /** [next, to) is not there. */
  gap(to: Offset): void {
    const end = Math.min(to, this.#upTo)
    if (end <= this.#next) return
    this.#lost.push({ from: this.#next, to: end })
    this.#next = end
  }

  /** Holes below `head` were made by retention while the pass ran. */
  result(head: Offset): ReadResult {
    const lost = this.#lost
      .filter(range => range.to > head)
      .map(range => ({ ...range, from: Math.max(range.from, head) }))
    return { records: this.#records, next: this.#next, lost }
  }

  #takeRecords(block: BlockReader): boolean {
    block.skipTo(this.#next)
    for (;;) {
      if (this.#records.length >= this.#limits.maxRecords) return true
      const item = block.next()
      if (item === undefined) break
      if (item.record.offset >= this.#upTo) return true
      const isFirst = this.#records.length === 0
      if (!isFirst && this.#bytes + item.bytes > this.#limits.maxBytes) return true
      this.#records.push(this.#stamped(item.record))
      this.#bytes += item.bytes
      this.#next = item.record.offset + 1
    }
    this.#next = Math.max(this.#next, Math.min(block.end, this.#upTo))
    return false
  }

  #stamped(record: LogRecord): LogRecord {
    const epoch = restampOf(this.#log, record.offset)
    return epoch === undefined ? record : { ...record, epoch }
  }
}

function restampOf(log: StoredLog, offset: Offset): Epoch | undefined {
  return log.restamps.findLast(restamp => offset >= restamp.from && offset < restamp.to)?.epoch
}
