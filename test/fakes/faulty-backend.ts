/**
 * A backend that fails, delays or damages on demand, around a real one.
 *
 * `failBatch` decides about each batch by its number since the start: `before` fails without writing, `after`
 * writes and then fails (as an error from fsync does), `hang` never answers.
 */
import type { Backend, BackendOperation, Entry, RangeQuery } from '#store/backend.ts'

export type Fault = 'before' | 'after' | 'hang' | undefined

export class FaultyBackend implements Backend {
  readonly #inner: Backend
  batches = 0
  reopens = 0
  compactions = 0
  failBatch: (batch: number) => Fault = () => undefined
  failReopen: () => boolean = () => false
  /** Runs before each batch; lets a test look at, or hold, the nasty instant. */
  onBatch: (operations: readonly BackendOperation[], sync: boolean) => Promise<void> | void = () => {}

  constructor(inner: Backend) {
    this.#inner = inner
  }

  get inner(): Backend {
    return this.#inner
  }

  get(key: Buffer): Promise<Buffer | undefined> {
    return this.#inner.get(key)
  }

  range(query: RangeQuery): Promise<Entry[]> {
    return this.#inner.range(query)
  }

  keys(query: RangeQuery): Promise<Buffer[]> {
    return this.#inner.keys(query)
  }

  async batch(operations: readonly BackendOperation[], sync: boolean): Promise<void> {
    this.batches += 1
    const fault = this.failBatch(this.batches)
    await this.onBatch(operations, sync)
    if (fault === 'hang') await new Promise(() => {})
    if (fault === 'before') throw new Error('EIO: write (injected)')
    await this.#inner.batch(operations, sync)
    if (fault === 'after') throw new Error('EIO: fdatasync (injected)')
  }

  compactRange(from: Buffer, to: Buffer): Promise<void> {
    this.compactions += 1
    return this.#inner.compactRange(from, to)
  }

  async reopen(): Promise<void> {
    this.reopens += 1
    if (this.failReopen()) throw new Error('EIO: open (injected)')
    await this.#inner.reopen()
  }

  close(): Promise<void> {
    return this.#inner.close()
  }
}
