/**
 * One batch on its way through an executor, on the daemon's side: what was sent, what came back, until when it may take.
 *
 *   items ─ send(): at most `aheadBytes` unfinished ─► executor ─ records ─► take() ─► sink.result, log, readState
 *
 * In a probe one item at a time is sent, so that a death names its record. What comes back is checked: an index
 * outside of what was sent, or twice, is a WireError, and the executor is killed (D5).
 */
import { ByteReader } from '#base/wire/byte-reader.ts'
import { WireError } from '#base/wire/frame.ts'
import { encodeItems } from '#base/wire/items.ts'
import { readRecord, type WireRecord } from '#base/wire/records.ts'
import type { BatchEnd, BatchItem, BatchSink, FunctionSpec, LogLine } from './sandbox.ts'

/** Bytes of items that may be in the executor without a result. */
const aheadBytes = 1_048_576
/** Milliseconds after a deadline until the process is killed. */
const graceMs = 250
/** Bytes that an item takes beside its payload and topic, about. */
const itemOverheadBytes = 256
/** Most bytes in a frame for each of a topic: itself and, with concurrency, the order key as JSON. */
const topicCopies = { alone: 1, sideBySide: 7 }
/** Bytes of the largest payload that a handler is given; with room for the rest of its frame. */
export const payloadBytesMax = 8 * 1024 * 1024
/** Milliseconds by which a report may be late. */
const reportSlackMs = 250
/** Runs of an item that are thought possible. */
const rerunsFactor = 5
/** Index that log lines written while the module loads carry. */
const loadIndex = 0xffffffff

export interface ReadRequest {
  readonly index: number
  readonly call: number
  readonly key: string
}

export class BatchRun {
  readonly number: number
  readonly items: readonly BatchItem[]
  readonly spec: FunctionSpec
  readonly #sink: BatchSink
  readonly #oneByOne: boolean
  readonly #finished: Uint8Array
  /** Items before the first that is too large for a frame. */
  readonly #sendable: number
  #finishedCount = 0
  #sentCount = 0
  #aheadBytes = 0
  #ended = false
  #index = -1
  #indexSince = 0
  #startTimeoutMs = 0
  /** Monotonic ms after which no report prolongs the batch. */
  #lastKillAt = Infinity
  #killAt = Infinity

  constructor(
    number: number,
    spec: FunctionSpec,
    items: readonly BatchItem[],
    sink: BatchSink,
    oneByOne: boolean,
  ) {
    this.number = number
    this.spec = spec
    this.items = items
    this.#sink = sink
    this.#oneByOne = oneByOne
    this.#finished = new Uint8Array(items.length)
    const tooLarge = items.findIndex(item => item.payload.length > payloadBytesMax)
    this.#sendable = tooLarge === -1 ? items.length : tooLarge
  }

  /** Item in the handler as far as known; -1 for none. */
  get index(): number {
    return this.#index
  }

  /** Monotonic ms at which the executor is killed unless it reports. */
  get killAt(): number {
    return this.#killAt
  }

  /** The batch goes to the executor at `now`, which has `startTimeoutMs` to start and load the module. */
  startClock(now: number, startTimeoutMs: number): void {
    this.#startTimeoutMs = startTimeoutMs
    this.#indexSince = now
    this.#killAt = now + startTimeoutMs + this.spec.timeoutMs
    // Each item may run again a few times for the sake of a neighbour's state.
    this.#lastKillAt = this.#killAt + this.items.length * this.spec.timeoutMs * rerunsFactor
  }

  /** The executor says which item is in the handler and when it will give up: believed within what is possible. */
  progressed(now: number, index: number, leftMs: number): void {
    if (index >= this.#sentCount) throw new WireError(`progress at item ${index}`)
    if (index !== this.#index) this.#indexSince = now
    this.#index = index
    const { timeoutMs, concurrency } = this.spec
    const itemMs = index < 0 ? this.#startTimeoutMs : timeoutMs * concurrency
    this.#killAt =
      Math.min(now + Math.max(0, leftMs), this.#indexSince + itemMs + reportSlackMs, this.#lastKillAt) +
      graceMs
  }

  /** Bodies of the items frames that may go now. */
  *next(): Generator<Buffer[]> {
    while (this.#sentCount < this.#sendable) {
      const first = this.#sentCount
      if (this.#oneByOne && first > this.#finishedCount) return
      let end = first
      let bytes = this.#aheadBytes
      while (end < this.#sendable && (bytes < aheadBytes || end === this.#finishedCount)) {
        bytes += this.#sizeOf(end++)
        if (this.#oneByOne) break
      }
      if (end === first) return
      this.#aheadBytes = bytes
      this.#sentCount = end
      const { payload, concurrency } = this.spec
      const items = this.items.slice(first, end)
      yield encodeItems(
        { run: this.number, first, items, last: end === this.#sendable },
        payload,
        concurrency > 1,
      )
    }
  }

  #sizeOf(index: number): number {
    const item = this.items[index]
    if (item === undefined) return itemOverheadBytes
    const copies = this.spec.concurrency > 1 ? topicCopies.sideBySide : topicCopies.alone
    return item.payload.length + Buffer.byteLength(item.topic) * copies + itemOverheadBytes
  }

  /** Index of the one item that ran when the executor died, where that is certain. */
  get alone(): number | undefined {
    if (this.items.length === 1) return 0
    return this.#oneByOne && this.#sentCount > this.#finishedCount ? this.#finishedCount : undefined
  }

  /** Records of the executor, in order; gives the reads of state that they ask for. */
  take(body: Buffer): ReadRequest[] {
    const reads: ReadRequest[] = []
    const reader = new ByteReader(body, 4)
    while (!reader.done && !this.#ended) {
      const record = readRecord(reader)
      if (record.index >= this.#sentCount && record.index !== loadIndex)
        throw new WireError(`a record of item ${record.index}`)
      if (record.kind === 'result') this.#result(record)
      else if (record.kind === 'log') this.#log(record)
      else if (record.kind === 'read') reads.push(record)
    }
    return reads
  }

  #result(record: Extract<WireRecord, { kind: 'result' }>): void {
    const { index, value, effects, durationMs, startedAt } = record
    if (this.#finished[index] !== 0) throw new WireError(`a second result of item ${index}`)
    this.#finished[index] = 1
    this.#finishedCount++
    this.#aheadBytes -= this.#sizeOf(index)
    this.#sink.result(index, { value, effects, durationMs, startedAt })
  }

  #log(record: Extract<WireRecord, { kind: 'log' }>): void {
    const invocationId = this.items[record.index]?.invocationId ?? ''
    this.#sink.log({ invocationId, level: record.level, text: record.text } satisfies LogLine)
  }

  readState(read: ReadRequest): Promise<string | undefined> {
    return this.#sink.readState(read.key)
  }

  get ended(): boolean {
    return this.#ended
  }

  /** The last word to the sink; later ones are ignored. */
  end(end: BatchEnd): void {
    if (this.#ended) return
    this.#ended = true
    this.#sink.ended(end.kind === 'done' && this.#sendable < this.items.length ? this.tooLarge : end)
  }

  /** Nothing can be sent: the first item is too large. */
  get nothingToSend(): boolean {
    return this.#sendable === 0
  }

  /** How the batch ends when it has come to the item that is too large. */
  get tooLarge(): BatchEnd {
    const { payload } = this.items[this.#sendable] ?? { payload: Buffer.alloc(0) }
    const errorMessage = `a message of ${payload.length} bytes is larger than the ${payloadBytesMax} bytes that a handler is given`
    const error = { errorType: 'Function.RequestSizeTooLarge', errorMessage, trace: [] }
    return { kind: 'failed', index: this.#sendable, error }
  }

  #isOpen(index: number): boolean {
    return index < this.#sentCount && this.#finished[index] === 0
  }

  /** Checks an end that the executor claims. */
  checkEnd(end: BatchEnd): void {
    if (end.kind === 'done' && this.#finishedCount !== this.#sendable)
      throw new WireError('an end before all results')
    if ((end.kind === 'failed' || end.kind === 'timeout') && !this.#isOpen(end.index))
      throw new WireError(`an end at item ${end.index}`)
  }
}
