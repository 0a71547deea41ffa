/** The functions folder: looked at on demand, watched when that is asked for, and another one at any time. */
import type { Clock } from '#base/clock.ts'
import { FescueError } from '#base/errors.ts'
import type { Bundler } from './bundler.ts'
import { FolderWatch } from './folder-watch.ts'
import { FunctionFolders, type Scan } from './function-folders.ts'
import type { ReadManifest } from './manifest.ts'

export interface WatchedFolderOptions {
  readonly bundler: Bundler
  readonly readManifest: ReadManifest
  readonly clock: Clock
  /** Whether edits are followed. */
  readonly watch: boolean
}

interface Current {
  readonly root: string
  readonly folders: FunctionFolders
  readonly watch: FolderWatch | undefined
}

export class WatchedFolder {
  readonly #options: WatchedFolderOptions
  #changed = (): void => {}
  #current: Current | undefined

  constructor(options: WatchedFolderOptions) {
    this.#options = options
  }

  /** `changed` is called once edits have settled. */
  onChanged(changed: () => void): void {
    this.#changed = changed
  }

  /** Looks at this folder from now on; the caller looks when it is ready. */
  use(root: string): void {
    if (this.#current?.root === root) return
    this.stop()
    const { bundler, readManifest, clock, watch } = this.#options
    this.#current = {
      root,
      folders: new FunctionFolders(root, bundler, readManifest),
      watch: watch ? new FolderWatch(root, clock, () => this.#changed()) : undefined,
    }
  }

  scan(): Promise<Scan> {
    const error = new FescueError('FESCUE_INTERNAL', 'no functions folder is in use')
    return this.#current?.folders.scan() ?? Promise.resolve({ kind: 'unreadable', error })
  }

  /** Watches what is there now; to be called again after each change. */
  async refresh(): Promise<void> {
    await this.#current?.watch?.refresh()
  }

  stop(): void {
    this.#current?.watch?.stop()
  }
}
