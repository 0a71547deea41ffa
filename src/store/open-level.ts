/**
 * Opens LevelDB, and saves what can be saved when it does not open.
 *
 *   whole ──────────────► open
 *   damaged ─► repair ──► open            "salvage": the journal gives back what it has, a new epoch begins
 *      └─► still damaged ─► put aside as level.damaged-TIME (never deleted), a new one begins
 *   any other failure (full disk, no permission, no descriptors) ─► FESCUE_STORE_FAILED, nothing is touched
 */
import { readdir, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '#base/clock.ts'
import { FescueError } from '#base/errors.ts'
import type { Logger } from '#base/logger.ts'
import type { Backend } from './backend.ts'
import { LevelBackend, repairLevel } from './level-backend.ts'

export interface OpenLevelOptions {
  /** Folder of the database itself. */
  readonly folder: string
  readonly writeBufferBytes: number
  readonly clock: Clock
  readonly logger: Logger
}

/** Errors: FESCUE_STORE_LOCKED, FESCUE_STORE_FAILED. */
export async function openLevel(options: OpenLevelOptions): Promise<{ backend: Backend; salvaged: boolean }> {
  try {
    return { backend: await attempt(options), salvaged: false }
  } catch (error) {
    if (!isDamage(error)) throw failure(error, options.folder)
    options.logger.error({ part: 'store', err: error }, 'the database is damaged; trying to repair it')
    return { backend: await salvage(options), salvaged: true }
  }
}

async function attempt({ folder, writeBufferBytes, logger }: OpenLevelOptions): Promise<Backend> {
  await checkCurrent(folder)
  const onDamage = (error: unknown) =>
    logger.error({ part: 'store', err: error }, 'a table of the database cannot be read as a whole')
  return LevelBackend.open({ folder, writeBufferBytes, onDamage })
}

async function salvage(options: OpenLevelOptions): Promise<Backend> {
  const { clock, folder, logger } = options
  try {
    await repairLevel(folder)
    return await attempt(options)
  } catch (error) {
    if (!isDamage(error) && (await isFolder(folder))) throw failure(error, folder)
    const aside = `${folder}.damaged-${new Date(clock.now()).toISOString().replaceAll(':', '')}`
    logger.error({ part: 'store', aside, err: error }, 'the database cannot be repaired; it is put aside')
    await rename(folder, aside)
    return attempt(options).catch(cause => {
      throw failure(cause, folder)
    })
  }
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
  return readdir(path).then(
    () => true,
    () => false,
  )
}

function isDamage(error: unknown): boolean {
  return error instanceof DamagedFolder || hasCode(error, 'LEVEL_CORRUPTION')
}

function failure(error: unknown, folder: string): FescueError {
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
