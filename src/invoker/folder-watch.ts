/**
 * Tells when something below a folder changed, once edits have settled.
 *
 *   one fs.watch for each directory ─► any event ─► 200 ms of silence ─► changed()
 *
 * Not `fs.watch(…, { recursive: true })`: on Linux, Node 24 loses every later edit of a file after one atomic
 * save (write beside, rename over), as most editors and git do. A directory's own watch sees the rename. The
 * set of watched directories is made anew after each change; a folder that cannot be watched is looked at
 * every `pollMs`.
 */
import { type FSWatcher, watch } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '#base/clock.ts'
import { counts } from './bundle-cache.ts'

/** Silence after which edits count as finished. */
export const settleMs = 200
/** Longest that a stream of edits may put off the change. */
const settleMaxMs = 2_000
/** How often a folder is looked at that is not there or cannot be watched. */
const pollMs = 2_000
/** Directories watched (D6); changes in further ones are seen by the poll. */
export const watchedMax = 1_000

export class FolderWatch {
  readonly #root: string
  readonly #clock: Clock
  readonly #changed: () => void
  readonly #watchers = new Map<string, FSWatcher>()
  #cancelSettle: (() => void) | undefined
  #cancelPoll: (() => void) | undefined
  #firstEditAt: number | undefined
  #state: 'running' | 'stopped' = 'running'

  constructor(root: string, clock: Clock, changed: () => void) {
    this.#root = root
    this.#clock = clock
    this.#changed = changed
  }

  /** Watches all directories that are there now; to be called again after each change. */
  async refresh(): Promise<void> {
    const found = new Set<string>()
    await this.#collect(this.#root, found)
    if (this.#state === 'stopped') return
    for (const [path, watcher] of this.#watchers) {
      if (found.has(path)) continue
      watcher.close()
      this.#watchers.delete(path)
    }
    let complete = found.size > 0 && found.size < watchedMax
    for (const path of found) if (!this.#watch(path)) complete = false
    this.#cancelPoll?.()
    if (!complete) this.#cancelPoll = this.#clock.after(pollMs, () => this.#notice())
  }

  stop(): void {
    this.#state = 'stopped'
    this.#cancelSettle?.()
    this.#cancelPoll?.()
    for (const watcher of this.#watchers.values()) watcher.close()
    this.#watchers.clear()
  }

  async #collect(path: string, found: Set<string>): Promise<void> {
    if (found.size >= watchedMax) return
    const entries = await readdir(path, { withFileTypes: true }).catch(() => undefined)
    if (entries === undefined) return
    found.add(path)
    for (const entry of entries)
      if (entry.isDirectory() && counts(entry.name)) await this.#collect(join(path, entry.name), found)
  }

  #watch(path: string): boolean {
    if (this.#watchers.has(path)) return true
    try {
      const watcher = watch(path, { persistent: false }, () => this.#notice())
      watcher.on('error', () => this.#lose(path, watcher))
      this.#watchers.set(path, watcher)
      return true
    } catch {
      return false
    }
  }

  #lose(path: string, watcher: FSWatcher): void {
    watcher.close()
    if (this.#watchers.get(path) === watcher) this.#watchers.delete(path)
    this.#notice()
  }

  #notice(): void {
    if (this.#state === 'stopped') return
    const now = this.#clock.monotonic()
    this.#firstEditAt ??= now
    this.#cancelSettle?.()
    const waitMs = Math.min(settleMs, Math.max(0, this.#firstEditAt + settleMaxMs - now))
    this.#cancelSettle = this.#clock.after(waitMs, () => {
      this.#firstEditAt = undefined
      this.#changed()
    })
  }
}
