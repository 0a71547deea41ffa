/**
 * Whether the disk takes what it is given: two causes of `degraded`, each with its own way back.
 *
 *   writer: a batch failed ──► disk-failing / disk-full ──► the batch got through ──► ok
 *   watch:  free space below the floor ──► disk-full ──► above it again ──► ok
 */
import { statfs } from 'node:fs/promises'
import type { Clock } from '#base/clock.ts'
import type { Logger } from '#base/logger.ts'
import type { StoreHealth } from './store.ts'

export interface HealthOptions {
  /** Folder whose file system is watched; undefined watches nothing. */
  readonly folder: string | undefined
  readonly freeDiskMinBytes: number
  readonly clock: Clock
  readonly logger: Logger
}

const ok: StoreHealth = { state: 'ok' }
/** Free space is looked at this often, and each time that many bytes were written. */
const watchEveryMs = 5_000
const watchEveryBytes = 16 * 1024 * 1024

export class Health {
  readonly #options: HealthOptions
  #freeDiskMinBytes: number
  readonly #listeners = new Set<(health: StoreHealth) => void>()
  #failing: StoreHealth = ok
  #space: StoreHealth = ok
  #unwatched = 0
  #cancel: () => void = () => {}
  #closed = false

  constructor(options: HealthOptions) {
    this.#options = options
    this.#freeDiskMinBytes = options.freeDiskMinBytes
  }

  get current(): StoreHealth {
    return this.#failing.state === 'ok' ? this.#space : this.#failing
  }

  /** Whether writes fail now (space below the floor alone does not count). */
  get failing(): boolean {
    return this.#failing.state !== 'ok'
  }

  onChange(listener: (health: StoreHealth) => void): () => void {
    const own = (health: StoreHealth) => listener(health)
    this.#listeners.add(own)
    return () => {
      this.#listeners.delete(own)
    }
  }

  /** Another floor of free space; resolves when it was looked at. */
  async setFloor(freeDiskMinBytes: number): Promise<void> {
    this.#freeDiskMinBytes = freeDiskMinBytes
    await this.#look()
  }

  /** First look, then one every few seconds. */
  async watch(): Promise<void> {
    if (this.#options.folder === undefined) return
    await this.#look()
    this.#again()
  }

  /** Bytes went to disk: time for another look? */
  wrote(bytes: number): void {
    this.#unwatched += bytes
    if (this.#unwatched < watchEveryBytes || this.#options.folder === undefined) return
    this.#unwatched = 0
    void this.#look()
  }

  /** A write failed. The reason is taken from the free space, since LevelDB's errors are prose. */
  async failed(error: unknown): Promise<void> {
    const free = await this.#freeBytes()
    const full = free !== undefined && free < Math.max(this.#freeDiskMinBytes / 4, 1024 * 1024)
    const message = error instanceof Error ? error.message : String(error)
    const since = this.#failing.state === 'ok' ? this.#options.clock.now() : this.#failing.since
    this.#change(() => {
      this.#failing = { state: 'degraded', reason: full ? 'disk-full' : 'disk-failing', message, since }
    })
  }

  /** The batch that failed got through. */
  recovered(): void {
    this.#change(() => {
      this.#failing = ok
    })
  }

  close(): void {
    this.#closed = true
    this.#cancel()
  }

  #again(): void {
    if (this.#closed) return
    this.#cancel = this.#options.clock.after(watchEveryMs, () => {
      void this.#look().then(() => this.#again())
    })
  }

  /** Below the floor is full; a little above it is free again, so that the state does not flap. */
  async #look(): Promise<void> {
    const free = await this.#freeBytes()
    if (free === undefined || this.#closed) return
    const floor = this.#freeDiskMinBytes
    const isFull = free < (this.#space.state === 'ok' ? floor : floor + floor / 16)
    if (isFull === (this.#space.state !== 'ok')) return
    const since = this.#options.clock.now()
    const message = `${free} bytes free, floor ${floor}: free some space, or lower the floor`
    this.#change(() => {
      this.#space = isFull ? { state: 'degraded', reason: 'disk-full', message, since } : ok
    })
  }

  async #freeBytes(): Promise<number | undefined> {
    if (this.#options.folder === undefined) return undefined
    try {
      const { bavail, bsize } = await statfs(this.#options.folder)
      return bavail * bsize
    } catch {
      return undefined // A file system that cannot be asked shows its state by failing writes.
    }
  }

  #change(change: () => void): void {
    const before = this.current
    change()
    const now = this.current
    if (now === before || (now.state === 'ok' && before.state === 'ok')) return
    const { logger } = this.#options
    if (now.state === 'ok') logger.info({}, 'the disk takes records again')
    else if (before.state === 'ok') logger.error({ reason: now.reason }, now.message)
    for (const listener of this.#listeners) listener(now)
  }
}
