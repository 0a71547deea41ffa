/**
 * A word outside the database about how it ended: `end.json` holds the number of the last batch of a clean end.
 *
 * LevelDB opens without complaint when the last entries of its manifest are cut off, and is then some tables
 * younger. Held against this note that is seen: the journal gives back what it has, and a new epoch begins.
 */
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

export class EndNote {
  readonly #path: string

  constructor(folder: string) {
    this.#path = join(folder, 'end.json')
  }

  /** The last batch of a clean end, or undefined after an unclean one. */
  async read(): Promise<number | undefined> {
    try {
      const { batch } = JSON.parse(await readFile(this.#path, 'utf8'))
      return typeof batch === 'number' ? batch : undefined
    } catch {
      return undefined // Missing or cut: as good as an unclean end, which proves nothing.
    }
  }

  /** Not synced: a note that is lost with the power claims nothing. */
  write(batch: number): Promise<void> {
    return writeFile(this.#path, `${JSON.stringify({ batch })}\n`, { mode: 0o600 })
  }

  remove(): Promise<void> {
    return rm(this.#path, { force: true })
  }
}
