/**
 * Overflow `keep-latest`: a full log first loses the records that a later one of the same key has replaced.
 *
 *   pass 1   head ─────────► written     the last offset of each key
 *   pass 2   head ──► …                  blocks rewritten without what is replaced, until a quarter is free
 *
 * Offsets stay what they were: a rewritten block says which are missing on purpose. If the passes free little,
 * the oldest go as with `drop-oldest`, and no further pass is made before the log has changed by a quarter.
 */
import type { Offset } from '#base/ids.ts'
import type { Backend, Entry } from './backend.ts'
import type { Batch } from './batch.ts'
import { BlockReader, encodeSparseBlock } from './block.ts'
import { blockKey, blockKeyOffset, spanKey } from './keys.ts'
import type { StoredLog } from './log.ts'
import { encodeSpan } from './log-codec.ts'
import type { LogRecord } from './record.ts'
import { lossOf, type Registry } from './registry.ts'
import type { Writer } from './writer.ts'

/** Keys whose last offset one pass remembers; records of further keys are kept. */
export const latestKeysMax = 65_536
/** Blocks that one step reads, and rewrites in one batch. */
const stepBlocks = 32

export interface KeepLatestDeps {
  readonly backend: Backend
  readonly registry: Registry
  readonly writer: Writer
}

export class KeepLatest {
  readonly #deps: KeepLatestDeps
  /** Offset at which a log may be passed over again. */
  readonly #notBefore = new WeakMap<StoredLog, Offset>()

  constructor(deps: KeepLatestDeps) {
    this.#deps = deps
  }

  /** Brings a log back within its bounds. */
  async compact(log: StoredLog): Promise<void> {
    const { registry, writer } = this.#deps
    if (log.removed || !log.full) return
    if (log.next >= (this.#notBefore.get(log) ?? 0)) {
      const before = log.bytes
      await this.#dropReplaced(log, await this.#latestOffsets(log))
      const isWorthwhile = log.bytes < before - log.limits.maxBytes / 8
      if (!isWorthwhile) this.#notBefore.set(log, log.next + Math.ceil(log.records / 4))
    }
    if (log.full && !writer.closing) {
      registry.dropOldest(writer.openFor(256, 4), log)
      writer.addUpkeep()
    }
  }

  async #latestOffsets(log: StoredLog): Promise<Map<string, Offset>> {
    const latest = new Map<string, Offset>()
    for await (const entries of this.#steps(log, log.written)) {
      for (const entry of entries) {
        for (const { record } of recordsOf(entry)) {
          const key = record.key ?? record.topic
          if (latest.size < latestKeysMax || latest.has(key)) latest.set(key, record.offset)
        }
      }
    }
    return latest
  }

  async #dropReplaced(log: StoredLog, latest: ReadonlyMap<string, Offset>): Promise<void> {
    const { writer } = this.#deps
    const target = log.limits.maxBytes * 0.75
    for await (const entries of this.#steps(log, log.written)) {
      if (writer.closing || log.removed || isLight(log, target)) return
      this.#rewrite(log, entries, latest)
    }
  }

  /** Rewrites what of these blocks holds replaced records, with the ledger's entry, in one batch. */
  #rewrite(log: StoredLog, entries: readonly Entry[], latest: ReadonlyMap<string, Offset>): void {
    const { registry, writer } = this.#deps
    const batch = writer.openFor(
      entries.reduce((sum, entry) => sum + entry[1].length, 0),
      entries.length,
    )
    let dropped = 0
    let from = log.next
    let to = 0
    for (const entry of entries) {
      const count = rewriteBlock(batch, log, entry, latest)
      if (count === 0) continue
      dropped += count
      from = Math.min(from, blockKeyOffset(entry[0]))
      to = Math.max(to, BlockReader.open(...entry)?.end ?? 0)
    }
    if (dropped === 0) return
    batch.touched.add(log)
    registry.lose(batch, lossOf(log, from, to, dropped, 'overflow'))
    writer.addUpkeep()
  }

  /** The blocks of a log, some at a time. */
  async *#steps(log: StoredLog, upTo: Offset): AsyncGenerator<Entry[]> {
    const lt = blockKey(log.incarnation, upTo)
    let gte = blockKey(log.incarnation, log.trimmed)
    for (;;) {
      const entries = await this.#deps.backend.range({ gte, lt, limit: stepBlocks })
      const last = entries.at(-1)
      if (last === undefined) return
      yield entries
      gte = Buffer.concat([last[0], Buffer.of(0)])
    }
  }
}

function isLight(log: StoredLog, targetBytes: number): boolean {
  const { maxRecords } = log.limits
  return log.bytes <= targetBytes && (maxRecords === undefined || log.records <= maxRecords * 0.75)
}

function* recordsOf(entry: Entry): Generator<{ record: LogRecord; bytes: number }> {
  const block = BlockReader.open(...entry)
  for (let item = block?.next(); item !== undefined; item = block?.next()) yield item
}

/** Puts the block back without its replaced records; returns their number. */
function rewriteBlock(
  batch: Batch,
  log: StoredLog,
  entry: Entry,
  latest: ReadonlyMap<string, Offset>,
): number {
  const block = BlockReader.open(...entry)
  const { head } = log.mark()
  if (block === undefined || block.first < log.trimmed || block.first < head) return 0
  const kept: LogRecord[] = []
  let records = 0
  let bytes = 0
  for (let item = block.next(); item !== undefined; item = block.next()) {
    if ((latest.get(item.record.key ?? item.record.topic) ?? -1) > item.record.offset) {
      records += 1
      bytes += item.bytes
    } else kept.push(item.record)
  }
  if (records === 0) return 0
  const put = encodeSparseBlock(log.incarnation, block, kept)
  batch.raw.push({ type: 'put', ...put })
  batch.bytes += put.value.length
  batch.operations += 1
  const span = log.spans.thin(block.first, records, bytes)
  if (span !== undefined && span !== log.spans.newest) {
    batch.values.set(spanKey(log.incarnation, span.key), encodeSpan(span))
  }
  return records
}
