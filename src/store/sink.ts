/**
 * Where the writer's batches go: LevelDB alone (synced by itself), or the journal with LevelDB beside it.
 *
 * Which of the two was decided by measurement (bench/journal.ts, bench/results/journal-*.json; 256-byte
 * messages on ext4, device bytes per message and p50 of a commit):
 *
 *                         10/s              100/s             10,000/s
 *   LevelDB, synced       17,832  2.1 ms    17,614  1.8 ms    3,075  0.61 ms
 *   journal + LevelDB      5,544  1.8 ms     4,957  1.1 ms    2,158  0.29 ms
 *
 * A third of the wear at the rates of real sensors and half the wait at high ones, and an fsync that fails or
 * a disk that is full is met by files whose size never changes. O_DSYNC instead of fdatasync measured the
 * same. So the journal is on; the in-memory store and `journal: false` use LevelDB's way.
 */
import type { Backend, BackendOperation } from './backend.ts'
import type { Journal } from './journal.ts'

export interface Sink {
  /** One batch, all or nothing. `sync`: it and all before it are safe against power loss when it resolves. */
  write(number: number, operations: readonly BackendOperation[], sync: boolean): Promise<void>
  /** After an error: all before batch `number` is in the database and synced when it resolves. */
  recover(number: number): Promise<void>
  close(): Promise<void>
}

export class DirectSink implements Sink {
  readonly #backend: Backend

  constructor(backend: Backend) {
    this.#backend = backend
  }

  write(_number: number, operations: readonly BackendOperation[], sync: boolean): Promise<void> {
    return this.#backend.batch(operations, sync)
  }

  recover(): Promise<void> {
    return this.#backend.reopen()
  }

  async close(): Promise<void> {}
}

export class JournaledSink implements Sink {
  readonly #backend: Backend
  readonly #journal: Journal
  readonly #mark: (firstBatch: number) => Promise<void>
  #journalFailed = false

  /** `mark` stores, synced, the first batch that the journal is good for. */
  constructor(backend: Backend, journal: Journal, mark: (firstBatch: number) => Promise<void>) {
    this.#backend = backend
    this.#journal = journal
    this.#mark = mark
  }

  async write(number: number, operations: readonly BackendOperation[], sync: boolean): Promise<void> {
    const [journaled, applied] = await Promise.allSettled([
      this.#journal.append(number, operations, sync),
      this.#backend.batch(operations, false),
    ])
    if (journaled.status === 'rejected') {
      this.#journalFailed = true
      throw journaled.reason
    }
    if (applied.status === 'rejected') throw applied.reason
  }

  /** LevelDB writes its log into synced tables when it opens; so nothing older is needed of the journal. */
  async recover(number: number): Promise<void> {
    await this.#backend.reopen()
    await this.#mark(number)
    if (this.#journalFailed) await this.#journal.discard()
    else await this.#journal.begin()
    this.#journalFailed = false
  }

  close(): Promise<void> {
    return this.#journal.close()
  }
}
