/**
 * The logs of a store by name, and what the store writes about them in the open batch: descriptors, marks,
 * spans, truncation, overflow. All synchronous: the writer's batch is the only disk here.
 */

import type { Epoch, Incarnation, Offset } from '#base/ids.ts'
import { checkName } from '#base/ids.ts'
import type { Batch } from './batch.ts'
import type { LogLimits, LostRange } from './commit-log.ts'
import { damageKey, logCopyKey, logKey, markKey, meta, removedKey, spanKey } from './keys.ts'
import { type Ledger, type Loss, ledgerLog } from './ledger.ts'
import { type LogDeps, type LogMark, StoredLog } from './log.ts'
import { encodeSpan, type LogDescriptor } from './log-codec.ts'
import type { RecordInput } from './record.ts'
import type { LossReason } from './transaction.ts'

/** Logs of one store (D6): sessions are the many. */
export const logsMax = 100_000
/** Damaged ranges remembered for a log, so that each is reported once. */
export const damagedRangesMax = 1_024

export interface RegistryDeps {
  readonly ledger: Ledger
  readonly epoch: () => Epoch
  /** A `keep-latest` log passed its bound. */
  readonly overfull: (log: StoredLog) => void
}

export class Registry {
  readonly #deps: RegistryDeps
  readonly #logDeps: LogDeps
  readonly #logs = new Map<string, StoredLog>()
  #incarnations = 0

  constructor(deps: RegistryDeps, logDeps: LogDeps) {
    this.#deps = deps
    this.#logDeps = logDeps
  }

  /** The highest incarnation ever given; set once at open. */
  set incarnations(highest: number) {
    this.#incarnations = highest
  }

  get size(): number {
    return this.#logs.size
  }

  find(name: string): StoredLog | undefined {
    return this.#logs.get(name)
  }

  all(): Iterable<StoredLog> {
    return this.#logs.values()
  }

  load(descriptor: LogDescriptor, mark: LogMark): StoredLog {
    const { name, incarnation, limits } = descriptor
    const log = new StoredLog(name, incarnation, limits, mark, this.#logDeps)
    this.#logs.set(name, log)
    return log
  }

  create(batch: Batch, name: string, limits: LogLimits): StoredLog {
    checkName('log', name)
    this.#incarnations += 1
    batch.values.set(meta.incarnations, Buffer.from(String(this.#incarnations)))
    const log = this.load({ name, incarnation: this.#incarnations, limits }, { head: 0, end: 0, trimmed: 0 })
    this.describe(batch, log)
    batch.touched.add(log)
    return log
  }

  describe(batch: Batch, log: StoredLog): void {
    const { name, incarnation, limits } = log
    const descriptor: LogDescriptor = { name, incarnation, limits }
    const value = Buffer.from(JSON.stringify(descriptor))
    batch.values.set(logKey(name), value)
    batch.values.set(logCopyKey(incarnation), value)
  }

  /** Takes the log out; its blocks are deleted in steps, found by the key R after a crash. */
  remove(batch: Batch, log: StoredLog): void {
    if (log.removed) return
    log.removed = true
    this.#logs.delete(log.name)
    batch.values.set(logKey(log.name), undefined)
    batch.values.set(logCopyKey(log.incarnation), undefined)
    batch.values.set(markKey(log.incarnation), undefined)
    batch.values.set(removedKey(log.incarnation), Buffer.from(String(log.trimmed)))
    batch.touched.delete(log)
    batch.truncated.add(log)
    log.dropCache()
  }

  append(batch: Batch, log: StoredLog, record: RecordInput): Offset {
    if (log.removed) {
      this.lose(batch, lossOf(log, log.next, log.next, 1, 'purged'))
      return log.next
    }
    const { offset, bytes, closed } = log.append(batch.chunk(log, this.#deps.epoch()), record)
    batch.bytes += bytes
    if (closed !== undefined) batch.values.set(spanKey(log.incarnation, closed.key), encodeSpan(closed))
    if (log.full) this.#enforce(batch, log)
    return offset
  }

  truncate(batch: Batch, log: StoredLog, to: Offset): void {
    if (log.removed) return
    const before = log.mark().head
    for (const span of log.dropTo(to)) batch.values.set(spanKey(log.incarnation, span.key), undefined)
    if (log.mark().head === before) return
    batch.touched.add(log)
    batch.truncated.add(log)
    this.#forgetDamage(batch, log)
  }

  /** Drops whole spans until the log is within its bounds again; the open span stays. */
  dropOldest(batch: Batch, log: StoredLog): void {
    while (log.full) {
      const to = log.spans.oldestEnd
      if (to === undefined || to <= log.mark().head) return
      this.drop(batch, log, to, 'overflow')
    }
  }

  /** Removes what lies below `to` and writes it to the ledger. */
  drop(batch: Batch, log: StoredLog, to: Offset, reason: LossReason): void {
    const from = log.mark().head
    const before = log.spans.records
    this.truncate(batch, log, to)
    const records = before - log.spans.records
    if (records > 0) this.lose(batch, lossOf(log, from, to, records, reason))
  }

  lose(batch: Batch, loss: Loss): void {
    if (!this.#deps.ledger.note(loss)) {
      this.#storeCounts(batch)
      return
    }
    const key = `${loss.incarnation} ${loss.reason} ${loss.log}`
    const known = batch.losses.get(key)
    if (known === undefined) batch.losses.set(key, loss)
    else if (known.to === loss.from && loss.to !== loss.from) {
      batch.losses.set(key, { ...known, to: loss.to, records: known.records + loss.records })
    } else batch.losses.set(`${key} ${loss.from} ${batch.losses.size}`, loss)
  }

  /** For the writer: appends the entries of a batch's losses to the ledger, just before it is encoded. */
  enterLosses(batch: Batch): void {
    for (const [key, loss] of batch.losses) {
      batch.losses.delete(key)
      this.#enter(batch, loss)
    }
  }

  /** Writes the counts that were added up (all, or those whose time is over). */
  enterCounts(batch: Batch, all: boolean): void {
    const due = this.#deps.ledger.due(all)
    if (due.length > 0) this.enter(batch, due)
  }

  /** Writes entries of losses that were counted before, and stores the sums that are left. */
  enter(batch: Batch, losses: readonly Loss[]): void {
    for (const loss of losses) this.#enter(batch, loss)
    this.#storeCounts(batch)
  }

  /** Notes damaged ranges; each is written to the ledger once. */
  damaged(batch: Batch, log: StoredLog, ranges: readonly LostRange[], reason: LossReason): void {
    for (const range of ranges) {
      for (const part of unknownParts(range, log.damaged)) {
        this.lose(batch, lossOf(log, part.from, part.to, part.to - part.from, reason))
        if (log.damaged.length >= damagedRangesMax) continue
        log.damaged.push(part)
        batch.values.set(damageKey(log.incarnation, part.from), Buffer.from(String(part.to)))
      }
    }
  }

  #enforce(batch: Batch, log: StoredLog): void {
    const { overflow, maxBytes } = log.limits
    if (overflow === 'drop-oldest') this.dropOldest(batch, log)
    else if (overflow === 'keep-latest') {
      if (log.bytes > 2 * maxBytes) this.dropOldest(batch, log)
      else this.#deps.overfull(log)
    }
  }

  #enter(batch: Batch, loss: Loss): void {
    const log = this.#logs.get(ledgerLog)
    if (log !== undefined) this.append(batch, log, this.#deps.ledger.record(loss, this.#deps.epoch()))
  }

  #storeCounts(batch: Batch): void {
    const counts = this.#deps.ledger.counts()
    batch.values.set(meta.losses, counts.length === 0 ? undefined : Buffer.from(JSON.stringify(counts)))
  }

  #forgetDamage(batch: Batch, log: StoredLog): void {
    const { head } = log.mark()
    for (let index = log.damaged.length - 1; index >= 0; index--) {
      const range = log.damaged[index]
      if (range === undefined || range.to > head) continue
      log.damaged.splice(index, 1)
      batch.values.set(damageKey(log.incarnation, range.from), undefined)
    }
  }
}

export function lossOf(
  log: { readonly name: string; readonly incarnation: Incarnation },
  from: Offset,
  to: Offset,
  records: number,
  reason: LossReason,
): Loss {
  return { log: log.name, incarnation: log.incarnation, from, to, records, reason }
}

/** What of a range is in none of the known ones. */
function unknownParts(range: LostRange, known: readonly LostRange[]): LostRange[] {
  let parts: LostRange[] = [range]
  for (const { from, to } of known) {
    parts = parts.flatMap(part => {
      if (to <= part.from || from >= part.to) return [part]
      const left = { from: part.from, to: Math.min(from, part.to) }
      const right = { from: Math.max(to, part.from), to: part.to }
      return [left, right].filter(piece => piece.from < piece.to)
    })
  }
  return parts
}
