/**
 * How many starts in a row died young: `starts.json`, one small unsynced write at each start and each stop.
 *
 *   start ─► count + 1 ─► lasted an hour, or ended well ─► 0
 *               └─ at 3, 6, 12, 24 … deaths in a row the database is looked through before it is opened
 *
 * A damaged table can make LevelDB end the process at each start; so can a kill, a loss of power or a bug, and a
 * storm of those must not make each start slow: hence the doubling. Damage that is met while the database is in use
 * makes the next start look, too.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '#base/clock.ts'

/** Deaths in a row after which the database is suspected for the first time. */
export const suspectAfterDeaths = 3
/** A start that lasts this long counts as one that went well. */
export const lastedMs = 3_600_000

interface Counted {
  readonly starts: number
  /** Damage was met, or a salvage begun and not finished. */
  readonly damaged: boolean
}

export class Starts {
  readonly #path: string
  /** Starts before this one that died. */
  readonly deaths: number
  readonly #wasDamaged: boolean
  #isDamaged = false
  #writing: Promise<void> = Promise.resolve()
  #cancel: () => void = () => {}

  private constructor(path: string, deaths: number, damaged: boolean) {
    this.#path = path
    this.deaths = deaths
    this.#wasDamaged = damaged
  }

  /** Counts a start. */
  static async count(folder: string): Promise<Starts> {
    const path = join(folder, 'starts.json')
    const before = await readCount(path)
    const starts = new Starts(path, before.starts, before.damaged)
    await starts.#write(starts.deaths + 1, before.damaged)
    return starts
  }

  /** Whether the database is to be looked through before it is opened. */
  get suspicious(): boolean {
    return this.#wasDamaged || isDoubling(this.deaths / suspectAfterDeaths)
  }

  /** Until `looked` each start suspects the database. Written once in a run. */
  async damaged(): Promise<void> {
    if (this.#isDamaged) return
    this.#isDamaged = true
    await this.#write(this.deaths + 1, true)
  }

  /** The database was looked through, and mended if it had to be; the next look comes at the next doubling. */
  looked(): Promise<void> {
    this.#isDamaged = false
    return this.#write(this.deaths + 1, false)
  }

  /** Forgets the deaths once this start has lasted. */
  watch(clock: Clock): void {
    this.#cancel = clock.after(lastedMs, () => {
      void this.#write(0, this.#isDamaged)
    })
  }

  /** Resolves when what was counted is in the file. */
  get settled(): Promise<void> {
    return this.#writing
  }

  /** The store ended well. */
  ended(): Promise<void> {
    this.#cancel()
    return this.#write(0, this.#isDamaged)
  }

  /** This start was none: the store said why it does not open (another process has it), and did not die. */
  failed(): Promise<void> {
    return this.#write(this.deaths, this.#wasDamaged || this.#isDamaged)
  }

  /** One after the other. A disk that is full or failing counts nothing; the store itself says so. */
  #write(starts: number, damaged: boolean): Promise<void> {
    const counted: Counted = { starts, damaged }
    this.#writing = this.#writing.then(() =>
      writeFile(this.#path, `${JSON.stringify(counted)}\n`, { mode: 0o600 }).catch(() => {}),
    )
    return this.#writing
  }
}

/** 1, 2, 4, 8 … */
const isDoubling = (value: number): boolean => value >= 1 && Number.isInteger(Math.log2(value))

async function readCount(path: string): Promise<Counted> {
  try {
    const { starts, damaged } = JSON.parse(await readFile(path, 'utf8')) ?? {}
    return { starts: Number.isSafeInteger(starts) ? starts : 0, damaged: damaged === true }
  } catch {
    return { starts: 0, damaged: false } // Missing, or cut: as good as no deaths.
  }
}
