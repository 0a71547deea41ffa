/**
 * Reads a database back into memory at open, and mends what it finds broken.
 *
 *   meta ─► logs (descriptor, or its copy) ─► marks (or counted anew from the blocks) ─► spans ─► timers
 *
 * After an unclean end the high-water mark of each log is held against its last block: a tail that is missing
 * is a lost range, and blocks above the mark are leftovers that must not be read as later records.
 */
import type { Incarnation, Offset } from '#base/ids.ts'
import type { Backend, Entry } from './backend.ts'
import { BlockReader } from './block.ts'
import { decodeCheckpoint } from './checkpoint-codec.ts'
import type { LostRange } from './commit-log.ts'
import {
  batchNumberKey,
  blockKey,
  blockKeyOffset,
  checkpointPrefix,
  incarnationOfKey,
  prefixEnd,
} from './keys.ts'
import type { LogMark, StoredLog } from './log.ts'
import { decodeMark, decodeSpan, type LogDescriptor } from './log-codec.ts'
import type { Registry } from './registry.ts'
import type { Span } from './spans.ts'
import type { TimerIndex } from './timer-index.ts'
import type { Timer } from './timers.ts'
import { unseal } from './values.ts'

/** Entries and keys that one look of a scan takes. */
const look = 1_024
/** Logs whose tails are looked at together. */
const tailsAtOnce = 64
const noOffset = 2 ** 48 - 1

export interface Recovered {
  /** Removed logs whose blocks are not all deleted. */
  readonly removed: { readonly incarnation: Incarnation; readonly trimmed: Offset }[]
  /** Small values that failed their checksum: to be set aside. */
  readonly damaged: Entry[]
  /** Logs without a mark, with the spans that are not those of the count. */
  readonly recounted: { readonly log: StoredLog; readonly spans: readonly Span[] }[]
  /** Highest incarnation seen in any key. */
  incarnation: Incarnation
}

/** Entries of all keys that start with a letter (or text), verified; those that fail go to `damaged`. */
async function* scan(
  backend: Backend,
  prefix: string,
  damaged: Entry[],
): AsyncGenerator<{ key: string; value: Buffer }> {
  let gte = Buffer.from(prefix)
  const lt = prefixEnd(prefix)
  for (;;) {
    const entries = await backend.range({ gte, lt, limit: look })
    for (const entry of entries) {
      const key = entry[0].toString()
      const value = unseal(key, entry[1])
      if (value === undefined) damaged.push(entry)
      else yield { key, value }
    }
    const last = entries.at(-1)
    if (last === undefined) return
    gte = Buffer.concat([last[0], Buffer.of(0)])
  }
}

/** A meta value, or undefined when absent or damaged. */
export async function readMeta(backend: Backend, key: string): Promise<Buffer | undefined> {
  const sealed = await backend.get(Buffer.from(key))
  return sealed === undefined ? undefined : unseal(key, sealed)
}

/** The ring of batch numbers: which of the newest batches the database holds. */
export interface Ring {
  readonly last: number
  holds(batch: number): boolean
}

/** Whether a batch is in the database and none `batchRingSlots` later is. */
export async function holdsBatch(backend: Backend, batch: number): Promise<boolean> {
  const value = await readMeta(backend, batchNumberKey(batch))
  return value !== undefined && value.readUIntBE(0, 6) === batch
}

export async function readRing(backend: Backend): Promise<Ring> {
  const numbers = new Set<number>()
  let last = 0
  for await (const { value } of scan(backend, 'W', [])) {
    const number = value.readUIntBE(0, 6)
    numbers.add(number)
    last = Math.max(last, number)
  }
  return { last, holds: batch => numbers.has(batch) }
}

/** Loads logs and timers. `salvaged`: a mark may be older than the blocks that it is about. */
export async function recover(
  backend: Backend,
  registry: Registry,
  timers: TimerIndex,
  salvaged = false,
): Promise<Recovered> {
  const recovered: Recovered = { removed: [], damaged: [], recounted: [], incarnation: 0 }
  const descriptors = await readDescriptors(backend, recovered)
  const marks = new Map<Incarnation, { mark: LogMark; open: Span | undefined }>()
  for await (const { key, value } of scan(backend, 'M', recovered.damaged)) {
    marks.set(incarnationOfKey(key), decodeMark(value))
    recovered.incarnation = Math.max(recovered.incarnation, incarnationOfKey(key))
  }
  for await (const { key, value } of scan(backend, 'R', recovered.damaged)) {
    recovered.removed.push({ incarnation: incarnationOfKey(key), trimmed: Number(value.toString()) })
    recovered.incarnation = Math.max(recovered.incarnation, incarnationOfKey(key))
  }
  const spans = await readSpans(backend, recovered)
  for (const descriptor of descriptors) {
    const known = await currentMark(backend, descriptor.incarnation, marks, salvaged)
    const own = spans.get(descriptor.incarnation) ?? []
    const { mark, open } = known ?? (await countAnew(backend, descriptor.incarnation, own))
    const log = registry.load(descriptor, mark)
    if (known === undefined) recovered.recounted.push({ log, spans: own })
    else for (const span of own) if (open === undefined || span.key < open.key) log.spans.load(span)
    if (open !== undefined) log.spans.load(open)
    log.spans.dropTo(mark.head, mark.end)
  }
  for await (const { key, value } of scan(backend, 'G', recovered.damaged)) {
    const from = Number.parseInt(key.slice(9), 16)
    for (const log of registry.all())
      if (log.incarnation === incarnationOfKey(key)) log.damaged.push({ from, to: Number(value.toString()) })
  }
  for await (const { value } of scan(backend, 'T', recovered.damaged)) {
    const timer: Timer = JSON.parse(value.toString())
    timers.set(timer.id, timer.kind, timer.dueAt)
  }
  return recovered
}

/** The mark of a log; of a salvaged one only when no block lies above it: else what came after it would be deleted. */
async function currentMark(
  backend: Backend,
  incarnation: Incarnation,
  marks: ReadonlyMap<Incarnation, { mark: LogMark; open: Span | undefined }>,
  salvaged: boolean,
): Promise<{ mark: LogMark; open: Span | undefined } | undefined> {
  const known = marks.get(incarnation)
  if (known === undefined || !salvaged) return known
  const above = { gte: blockKey(incarnation, known.mark.end), lt: blockKey(incarnation, noOffset), limit: 1 }
  return (await backend.keys(above)).length === 0 ? known : undefined
}

async function readDescriptors(backend: Backend, recovered: Recovered): Promise<LogDescriptor[]> {
  const byIncarnation = new Map<Incarnation, LogDescriptor>()
  for (const prefix of ['I', 'L']) {
    for await (const { value } of scan(backend, prefix, recovered.damaged)) {
      const descriptor: LogDescriptor = JSON.parse(value.toString())
      byIncarnation.set(descriptor.incarnation, descriptor)
      recovered.incarnation = Math.max(recovered.incarnation, descriptor.incarnation)
    }
  }
  return [...byIncarnation.values()].sort((a, b) => a.incarnation - b.incarnation)
}

async function readSpans(backend: Backend, recovered: Recovered): Promise<Map<Incarnation, Span[]>> {
  const spans = new Map<Incarnation, Span[]>()
  for await (const { key, value } of scan(backend, 'S', recovered.damaged)) {
    const incarnation = incarnationOfKey(key)
    const own = spans.get(incarnation)
    if (own === undefined) spans.set(incarnation, [decodeSpan(value)])
    else own.push(decodeSpan(value))
  }
  return spans
}

/**
 * A log whose mark is damaged: head, end and sizes are counted from its blocks, as one span. Blocks of what is
 * done are deleted; so the end lies at least where a consumer or a span has been, or offsets would be given twice
 * and their records taken for done.
 */
async function countAnew(
  backend: Backend,
  incarnation: Incarnation,
  spans: readonly Span[],
): Promise<{ mark: LogMark; open: Span | undefined }> {
  let gte = blockKey(incarnation, 0)
  const lt = blockKey(incarnation, noOffset)
  let open: Span | undefined
  let end = spans.reduce((highest, { key, records }) => Math.max(highest, key + records), 0)
  for await (const { value } of scan(backend, checkpointPrefix(incarnation), [])) {
    const { low, done } = decodeCheckpoint(value)
    end = Math.max(end, low, done.at(-1)?.[1] ?? 0)
  }
  for (;;) {
    const entries = await backend.range({ gte, lt, limit: 64 })
    for (const [key, value] of entries) {
      const block = BlockReader.open(key, value)
      const first = blockKeyOffset(key)
      open ??= { key: first, first, records: 0, bytes: 0, oldest: noOffset, newest: 0 }
      end = Math.max(end, block?.end ?? first + 1)
      for (let item = block?.next(); item !== undefined; item = block?.next()) {
        open.records += 1
        open.bytes += item.bytes
        open.oldest = Math.min(open.oldest, item.record.time)
        open.newest = Math.max(open.newest, item.record.time)
      }
    }
    const last = entries.at(-1)
    if (last === undefined) break
    gte = Buffer.concat([last[0], Buffer.of(0)])
  }
  if (open !== undefined && open.records === 0) open.oldest = open.newest
  const head = open?.first ?? end
  return { mark: { head, end, trimmed: head }, open }
}

export interface TailFinding {
  readonly log: StoredLog
  readonly lost: LostRange | undefined
  /** Keys of blocks above the mark. */
  readonly leftovers: Buffer[]
}

/** Holds each log's mark against its last block. */
export async function checkTails(backend: Backend, logs: Iterable<StoredLog>): Promise<TailFinding[]> {
  const findings: TailFinding[] = []
  const rest = [...logs]
  while (rest.length > 0) {
    const checked = await Promise.all(rest.splice(0, tailsAtOnce).map(log => checkTail(backend, log)))
    findings.push(...checked.filter(finding => finding.lost !== undefined || finding.leftovers.length > 0))
  }
  return findings
}

async function checkTail(backend: Backend, log: StoredLog): Promise<TailFinding> {
  const { incarnation, end, head } = log
  const above = { gte: blockKey(incarnation, end), lt: blockKey(incarnation, noOffset), limit: look }
  const leftovers = await backend.keys(above)
  if (head >= end) return { log, lost: undefined, leftovers }
  const below = {
    gte: blockKey(incarnation, log.trimmed),
    lt: blockKey(incarnation, end),
    limit: 1,
    reverse: true,
  }
  const [last] = await backend.range(below)
  // A damaged last block is found, and reported, when it is read.
  const reached = last === undefined ? head : (BlockReader.open(...last)?.end ?? end)
  return { log, lost: reached < end ? { from: Math.max(reached, head), to: end } : undefined, leftovers }
}
