/**
 * LevelDB behind the backend interface.
 *
 * A database that is being re-opened is a state of this class, not of its users: reads that meet it wait for
 * the new one and run again.
 */
import { Level } from 'level'
import { FescueError } from '#base/errors.ts'
import type { Backend, BackendOperation, Entry, RangeQuery } from './backend.ts'

export interface LevelBackendOptions {
  readonly folder: string
  readonly writeBufferBytes: number
  /** A table could not be read; what of it can be is given, the rest is missing. */
  readonly onDamage: (error: unknown) => void
  /** Salvages the closed database after a compaction met damage (`error`). */
  readonly mend: (error: unknown) => Promise<void>
}

/** Stands for a value that is there and cannot be read: too short for any checksum. */
const unreadable = Buffer.alloc(0)

/** `level` types itself for browsers too, where these are missing. */
type Database = Level<Buffer, Buffer> & {
  compactRange(from: Buffer, to: Buffer): Promise<void>
}

type State =
  | { readonly kind: 'open'; readonly database: Database }
  | { readonly kind: 'opening'; readonly opened: Promise<void> }
  | { readonly kind: 'closed' }

/** Entries of one look that LevelDB hands over in one go; above, its own bound of bytes applies. */
const rangeMaxBytesDefault = 1024 * 1024
/** Times that a read starts again because the database was re-opened under it. */
const readAttemptsMax = 5

const closedError = (): FescueError => new FescueError('FESCUE_STORE_CLOSED', 'the store is closed')

export class LevelBackend implements Backend {
  readonly #options: LevelBackendOptions
  #state: State = { kind: 'closed' }
  #damage: unknown

  private constructor(options: LevelBackendOptions) {
    this.#options = options
  }

  /** Opens or creates. Errors are classic-level's own, with their cause. */
  static async open(options: LevelBackendOptions): Promise<LevelBackend> {
    const backend = new LevelBackend(options)
    backend.#state = { kind: 'open', database: await openDatabase(options) }
    return backend
  }

  async get(key: Buffer): Promise<Buffer | undefined> {
    try {
      return await this.#reading(database => database.get(key))
    } catch (error) {
      if (!isDamage(error)) throw error
      this.#options.onDamage(error)
      return unreadable
    }
  }

  range(query: RangeQuery): Promise<Entry[]> {
    return this.#look<Entry>(query, (database, options) => database.iterator(options))
  }

  keys(query: RangeQuery): Promise<Buffer[]> {
    return this.#look<Buffer>(query, (database, options) => database.keys(options))
  }

  #look<T>(query: RangeQuery, open: OpenIterator<T>): Promise<T[]> {
    return this.#reading(async database => {
      const options = {
        gte: query.gte,
        lt: query.lt,
        reverse: query.reverse ?? false,
        highWaterMarkBytes: query.maxBytes ?? rangeMaxBytesDefault,
        fillCache: false,
      }
      try {
        return await nextMany(open(database, options), query.limit)
      } catch (error) {
        if (!isDamage(error)) throw error
        this.#options.onDamage(error)
        return nextEach(open(database, options), query.limit)
      }
    })
  }

  async batch(operations: readonly BackendOperation[], sync: boolean): Promise<void> {
    const state = this.#state
    if (state.kind !== 'open') throw closedError()
    try {
      await state.database.batch(operations as BackendOperation[], { sync })
    } catch (error) {
      // A compaction met a damaged table: unmended, each new start would meet it again.
      if (isCorruption(error)) this.#damage = error
      throw error
    }
  }

  compactRange(from: Buffer, to: Buffer): Promise<void> {
    return this.#reading(database => database.compactRange(from, to))
  }

  async reopen(): Promise<void> {
    const before = this.#state
    if (before.kind === 'opening') return before.opened
    const opened = this.#openAgain(before)
    this.#state = { kind: 'opening', opened: opened.catch(() => {}) }
    await opened
  }

  async #openAgain(before: State): Promise<void> {
    try {
      if (before.kind === 'open') await before.database.close()
      if (this.#damage !== undefined) await this.#options.mend(this.#damage)
      this.#damage = undefined
      this.#state = { kind: 'open', database: await openDatabase(this.#options) }
    } catch (error) {
      this.#state = { kind: 'closed' }
      throw error
    }
  }

  async close(): Promise<void> {
    const state = this.#state
    this.#state = { kind: 'closed' }
    if (state.kind === 'open') await state.database.close()
  }

  async #reading<T>(read: (database: Database) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const state = this.#state
      if (state.kind === 'closed') throw closedError()
      if (state.kind === 'opening') {
        await state.opened
        continue
      }
      try {
        return await read(state.database)
      } catch (error) {
        if (this.#state === state || attempt >= readAttemptsMax) throw error
      }
    }
  }
}

type OpenIterator<T> = (
  database: Database,
  options: { gte: Buffer; lt: Buffer; reverse: boolean; highWaterMarkBytes: number; fillCache: boolean },
) => ManyIterator<T>

interface ManyIterator<T> {
  nextv(size: number): Promise<T[]>
  close(): Promise<void>
}

async function nextMany<T>(iterator: ManyIterator<T>, limit: number): Promise<T[]> {
  try {
    return await iterator.nextv(limit)
  } finally {
    await iterator.close()
  }
}

/** One by one: LevelDB steps over a table block that it cannot read, and says so only at the end. */
async function nextEach<T>(iterator: ManyIterator<T>, limit: number): Promise<T[]> {
  const entries: T[] = []
  try {
    while (entries.length < limit) {
      const [entry] = await iterator.nextv(1)
      if (entry === undefined) break
      entries.push(entry)
    }
  } catch (error) {
    if (!isDamage(error)) throw error
  } finally {
    await iterator.close()
  }
  return entries
}

/** A table that LevelDB cannot read: corrupted, or cut (which it reports as an input/output error). */
function isDamage(error: unknown): boolean {
  if (!(error instanceof Error) || !('code' in error)) return false
  return error.code === 'LEVEL_CORRUPTION' || error.code === 'LEVEL_IO_ERROR'
}

/** Damage, and no trouble with the disk: EINVAL is what LevelDB answers to a place beyond the end of a table. */
function isCorruption(error: unknown): boolean {
  if (!(error instanceof Error) || !('code' in error)) return false
  if (error.code === 'LEVEL_CORRUPTION') return true
  return error.code === 'LEVEL_IO_ERROR' && error.message.endsWith('Invalid argument')
}

async function openDatabase({ folder, writeBufferBytes }: LevelBackendOptions): Promise<Database> {
  const database = new Level<Buffer, Buffer>(folder, {
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
    writeBufferSize: writeBufferBytes,
    cacheSize: 2 * 1024 * 1024,
    maxOpenFiles: 200,
  } as object) as Database
  await database.open()
  return database
}
