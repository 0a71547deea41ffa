/**
 * Recent records of all logs within one bound, so that a consumer that keeps up reads without disk and
 * without decoding.
 *
 *   commit ─► chunk of the open batch ─► written: counted here ─► evicted, oldest first
 *                 (always in memory)
 *
 * A chunk is what one batch appends to one log. Until its batch is written it cannot be evicted.
 */
import type { Epoch, Offset } from '#base/ids.ts'
import type { LogRecord } from './record.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

export interface Chunk {
  readonly first: Offset
  readonly epoch: Epoch
  readonly records: Mutable<LogRecord>[]
  /** What each record counts for. */
  readonly sizes: number[]
  bytes: number
  written: boolean
  /** Takes it out of its log's list. */
  readonly forget: (chunk: Chunk) => void
}

/** Memory that a record object takes besides the bytes it counts for. */
const objectBytes = 240

export class TailCache {
  readonly #maxBytes: number
  /** In order of writing; a Set so that a truncated chunk leaves at once. */
  readonly #chunks = new Set<Chunk>()
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Takes a written chunk and evicts the oldest until all fit. */
  add(chunk: Chunk): void {
    this.#chunks.add(chunk)
    this.#bytes += weight(chunk)
    while (this.#bytes > this.#maxBytes) {
      const oldest = this.#chunks.values().next()
      if (oldest.done) return
      oldest.value.forget(oldest.value)
      this.remove(oldest.value)
    }
  }

  /** Stops counting a chunk that its log has let go. */
  remove(chunk: Chunk): void {
    if (this.#chunks.delete(chunk)) this.#bytes -= weight(chunk)
  }
}

const weight = (chunk: Chunk): number => chunk.bytes + chunk.records.length * objectBytes
