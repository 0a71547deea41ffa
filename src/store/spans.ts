/**
 * How a log's bytes, records and times are spread over its offsets, in memory and small.
 *
 *   │ span │ span │ span │ open span
 *   head                        end
 *
 * A span is a run of offsets of about 1/32 of the log's bound. Retention drops whole spans, so what to drop,
 * how many records that is and how old the oldest is are known without reading the disk. Closed spans are
 * stored once (key S), the open one with the log's mark (key M).
 */
import type { Offset } from '#base/ids.ts'
import type { LogLimits } from './commit-log.ts'

export interface Span {
  /** First offset at the time the span was begun: its key. */
  readonly key: Offset
  first: Offset
  records: number
  bytes: number
  oldest: number
  newest: number
}

const spansPerLog = 32
const spanMinBytes = 4 * 1024
const spanMaxBytes = 1024 * 1024
/** Large logs have larger spans, so that no log has many more than this. */
const spansMax = 16_384
const spanMaxAgeMs = 3_600_000

export class Spans {
  readonly #spans: Span[] = []
  #bytes = 0
  #records = 0
  #limits: LogLimits

  constructor(limits: LogLimits) {
    this.#limits = limits
  }

  get bytes(): number {
    return this.#bytes
  }

  get records(): number {
    return this.#records
  }

  get count(): number {
    return this.#spans.length
  }

  get oldest(): Span | undefined {
    return this.#spans[0]
  }

  /** The open span. */
  get newest(): Span | undefined {
    return this.#spans.at(-1)
  }

  set limits(limits: LogLimits) {
    this.#limits = limits
  }

  all(): readonly Span[] {
    return this.#spans
  }

  load(span: Span): void {
    this.#spans.push(span)
    this.#bytes += span.bytes
    this.#records += span.records
  }

  /** Counts a record; returns the span that it closed, if any. */
  add(offset: Offset, bytes: number, time: number): Span | undefined {
    this.#bytes += bytes
    this.#records += 1
    const open = this.newest
    if (open !== undefined && !this.#isFull(open, time)) {
      open.bytes += bytes
      open.records += 1
      if (time > open.newest) open.newest = time
      else if (time < open.oldest) open.oldest = time
      return undefined
    }
    this.#spans.push({ key: offset, first: offset, records: 1, bytes, oldest: time, newest: time })
    return open
  }

  /** Forgets what lies below `to`; returns the closed spans that are gone. `end` is the log's next offset. */
  dropTo(to: Offset, end: Offset): Span[] {
    const gone: Span[] = []
    for (let span = this.#spans[0]; span !== undefined && span.first < to; span = this.#spans[0]) {
      const spanEnd = this.#spans[1]?.first ?? end
      if (spanEnd > to) {
        this.#cut(span, to, spanEnd)
        break
      }
      this.#bytes -= span.bytes
      this.#records -= span.records
      this.#spans.shift()
      if (this.#spans.length > 0) gone.push(span)
    }
    return gone
  }

  /** First offset above the oldest span, or undefined when that is the open one. */
  get oldestEnd(): Offset | undefined {
    return this.#spans[1]?.first
  }

  /** Records were taken out of the middle (`keep-latest`); returns the span that held them. */
  thin(offset: Offset, records: number, bytes: number): Span | undefined {
    const span = this.#spans.findLast(candidate => candidate.first <= offset)
    if (span === undefined) return undefined
    const fewer = Math.min(records, span.records)
    const lighter = Math.min(bytes, span.bytes)
    span.records -= fewer
    span.bytes -= lighter
    this.#records -= fewer
    this.#bytes -= lighter
    return span
  }

  /** The share of bytes below `to` is an estimate by offsets; records are exact unless the span was thinned. */
  #cut(span: Span, to: Offset, spanEnd: Offset): void {
    const share = (to - span.first) / (spanEnd - span.first)
    const records = Math.min(span.records, Math.round(span.records * share))
    const bytes = Math.round(span.bytes * share)
    span.records -= records
    span.bytes -= bytes
    span.first = to
    this.#records -= records
    this.#bytes -= bytes
  }

  #isFull(span: Span, time: number): boolean {
    const { maxBytes, maxRecords, maxAgeMs } = this.#limits
    const bytes = Math.max(Math.min(maxBytes / spansPerLog, spanMaxBytes), maxBytes / spansMax)
    if (span.bytes >= (maxBytes < spanMinBytes * spansPerLog ? bytes : Math.max(bytes, spanMinBytes)))
      return true
    if (maxRecords !== undefined && span.records >= maxRecords / spansPerLog) return true
    return time - span.oldest >= Math.min(spanMaxAgeMs, (maxAgeMs ?? Number.POSITIVE_INFINITY) / spansPerLog)
  }
}
