/**
 * What the store asks of a database: an ordered map of bytes with atomic batches.
 *
 * `level-backend.ts` is LevelDB, `memory-backend.ts` the one for tests and `data: memory`; all else in this
 * folder is common to both, and `test/conformance/` holds both to the same behaviour.
 */
export type BackendOperation =
  | { readonly type: 'put'; readonly key: Buffer; readonly value: Buffer }
  | { readonly type: 'del'; readonly key: Buffer }

export interface RangeQuery {
  readonly gte: Buffer
  readonly lt: Buffer
  /** Entries at most. */
  readonly limit: number
  /** Stops after the entry that reaches these bytes. */
  readonly maxBytes?: number
  /** From the end. */
  readonly reverse?: boolean
}

export type Entry = readonly [key: Buffer, value: Buffer]

export interface Backend {
  get(key: Buffer): Promise<Buffer | undefined>
  /** One consistent look; the first entries of the range in key order. */
  range(query: RangeQuery): Promise<Entry[]>
  /** The first keys of the range in key order. */
  keys(query: RangeQuery): Promise<Buffer[]>
  /** All or nothing. `sync`: safe against power loss when it resolves. */
  batch(operations: readonly BackendOperation[], sync: boolean): Promise<void>
  /** Gives the space of deleted keys back. */
  compactRange(from: Buffer, to: Buffer): Promise<void>
  /**
   * Closes and opens again after a write error; reads wait meanwhile. LevelDB 1.20 loses acknowledged synced
   * writes if it goes on after a failed append (google/leveldb#1180).
   */
  reopen(): Promise<void>
  close(): Promise<void>
}
