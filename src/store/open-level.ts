/**
 * Opens LevelDB, and saves what can be saved when it is damaged.
 *
 *   whole ───────────────────────────────► open
 *   several starts in a row died ─► looked through ─► open
 *   LevelDB says that it is damaged ─► salvaged ────► open     the journal gives back what it has, a new epoch begins
 *   any other failure (full disk, no permission, no descriptors) ─► FESCUE_STORE_FAILED, nothing is touched
 *
 * What a salvage does stands in `salvage/salvage.ts`, which no ordinary start loads.
 */
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '#base/clock.ts'
import { FescueError } from '#base/errors.ts'
import type { Logger } from '#base/logger.ts'
import type { Backend } from './backend.ts'
import { LevelBackend } from './level-backend.ts'
import { finishSwap, readNote, type SalvageNote } from './salvage-note.ts'
import type { Starts } from './starts.ts'

export interface OpenLevelOptions {
  /** Folder of the database itself. */
  readonly folder: string
  readonly writeBufferBytes: number
  readonly clock: Clock
  readonly logger: Logger
  readonly starts: Starts
  /** Called for a salvage while the database is in use. */
  readonly onSalvaged: (note: SalvageNote) => void
}

export interface OpenedLevel {
  readonly backend: Backend
  /** Done by this start. */
  readonly salvage: SalvageNote | undefined
  /** The last one, as long as what it put aside is there. */
  readonly lastSalvage: SalvageNote | undefined
}

/** Errors: FESCUE_STORE_LOCKED, FESCUE_STORE_FAILED. */
export async function openLevel(options: OpenLevelOptions): Promise<OpenedLevel> {
  const { folder } = options
  try {
    const wasSwapped = await finishSwap(folder)
    const lastSalvage = await readNote(folder)
    const found = wasSwapped ? lastSalvage : await lookThrough(options)
    const { backend, salvage = found } = await openOrSalvage(options)
    return { backend, salvage, lastSalvage: salvage ?? lastSalvage }
  } catch (error) {
    throw failure(error, folder)
  }
}

/** A look before the database is opened, when starts died: LevelDB may end the process that opens it. */
async function lookThrough(options: OpenLevelOptions): Promise<SalvageNote | undefined> {
  const { starts } = options
  if (!starts.suspicious || !(await isFolder(options.folder))) return undefined
  const { lookThrough } = await import('./salvage/salvage.ts')
  const note = await lookThrough(options, { deaths: starts.deaths, onDamaged: () => starts.damaged() })
  await starts.looked()
  return note
}

async function openOrSalvage(
  options: OpenLevelOptions,
): Promise<{ backend: Backend; salvage?: SalvageNote }> {
  try {
    return { backend: await attempt(options) }
  } catch (error) {
    if (!isDamage(error)) throw error
    const { renew, salvage } = await import('./salvage/salvage.ts')
    const note = await salvage(options, error)
    try {
      return { backend: await attempt(options), salvage: note }
    } catch (again) {
      if (!isDamage(again) || note.kind !== 'mended') throw again
      const renewed = await renew(options, again instanceof Error ? again.message : String(again))
      return { backend: await attempt(options), salvage: renewed }
    }
  }
}

async function attempt(options: OpenLevelOptions): Promise<Backend> {
  const { folder, writeBufferBytes, logger } = options
  await checkCurrent(folder)
  const onDamage = (error: unknown) => {
    logger.error({ err: error }, 'a table of the database cannot be read as a whole')
    void options.starts.damaged()
  }
  const mend = async (error: unknown) => {
    const { salvage } = await import('./salvage/salvage.ts')
    options.onSalvaged(await salvage({ ...options, isInUse: true }, error))
  }
  return LevelBackend.open({ folder, writeBufferBytes, onDamage, mend })
}

/** Damage that LevelDB would not see, or would take for another trouble. */
class DamagedFolder extends Error {}

/** LevelDB takes a folder without CURRENT for a new one and removes the tables in it. */
async function checkCurrent(folder: string): Promise<void> {
  const names: string[] = await readdir(folder).catch(error => {
    if (error.code === 'ENOENT') return []
    if (error.code === 'ENOTDIR') throw new DamagedFolder(`${folder} is no folder`)
    throw error
  })
  const current = names.includes('CURRENT') ? await readFile(join(folder, 'CURRENT'), 'latin1') : undefined
  if (current === undefined) {
    const hasData = names.some(name => name.endsWith('.ldb') || name.endsWith('.log'))
    if (hasData) throw new DamagedFolder(`${folder} has tables, but CURRENT is missing`)
  } else if (!current.endsWith('\n') || !names.includes(current.trimEnd())) {
    throw new DamagedFolder(`${folder}/CURRENT names no manifest`)
  }
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    found => found.isDirectory(),
    () => false,
  )
}

function isDamage(error: unknown): boolean {
  return error instanceof DamagedFolder || hasCode(error, 'LEVEL_CORRUPTION')
}

function failure(error: unknown, folder: string): FescueError {
  if (error instanceof FescueError) return error
  if (hasCode(error, 'LEVEL_LOCKED')) {
    const message = `another process uses ${folder}: stop it, or choose another folder`
    return new FescueError('FESCUE_STORE_LOCKED', message, { cause: error })
  }
  const message = `the database in ${folder} does not open: see whether the disk is full, and the folder's mode`
  return new FescueError('FESCUE_STORE_FAILED', message, { cause: error })
}

/** abstract-level wraps the reason: LEVEL_DATABASE_NOT_OPEN with LEVEL_LOCKED as its cause. */
function hasCode(error: unknown, code: string): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if ('code' in cause && cause.code === code) return true
  }
  return false
}
