/**
 * What is done about a database that is damaged, or looks as if it were.
 *
 *   examine (checksums of all tables) ─┬─ single bits only ──► set right in place, copies put aside
 *                                      ├─ more, or unreadable ──► rebuilt beside it, then swapped
 *                                      └─ nothing ──► probe (a process of its own) dies? ──► rebuilt
 *
 * `level.damaged-TIME` has the files as they were found; the newest `asideFoldersMax` of these are kept. Each step can be cut short at any
 * instant: until the swap the damaged database stands where it stood, and is found damaged again.
 */
import { copyFile, mkdir, open, readdir, rm, stat, statfs } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Level } from 'level'
import type { Clock } from '#base/clock.ts'
import { FescueError } from '#base/errors.ts'
import type { Logger } from '#base/logger.ts'
import { noteText, rebuiltFolder, type SalvageNote, swap, writeNote } from '../salvage-note.ts'
import { type Examination, examine } from './examine.ts'
import { type FileFlip, Findings, flipsMax } from './findings.ts'
import { probe } from './probe.ts'
import { rebuild } from './rebuild.ts'

export interface SalvageOptions {
  /** Folder of the database itself. */
  readonly folder: string
  readonly clock: Clock
  readonly logger: Logger
  /** The store runs on it: an empty database in its place would be at odds with what the store knows. */
  readonly isInUse?: boolean
  /** Free bytes of the disk; a test says its own. */
  readonly freeBytes?: (folder: string) => Promise<number>
}

/** Folders of damaged files that are kept: a disk that goes on failing would fill itself with them. */
export const asideFoldersMax = 4
/** Of the old database's bytes a new one takes at most this share, and LevelDB's own files. */
const rebuiltShare = 1.1
const rebuiltMoreBytes = 16 * 1024 * 1024

/**
 * Looks a database through after several starts died, or one met damage. Undefined: nothing is wrong with it, or another process uses
 * it. `onDamaged` is called before anything is changed.
 */
export async function lookThrough(
  options: SalvageOptions,
  { deaths, onDamaged }: { deaths: number; onDamaged: () => Promise<void> },
): Promise<SalvageNote | undefined> {
  const { clock, folder, logger } = options
  if (!(await isFree(folder))) return undefined
  const why = deaths > 0 ? `${deaths} starts in a row died` : 'damage was met in the last run'
  logger.warn({ deaths }, `${why}: the database is looked through`)
  const examined = await examine(folder, clock)
  if (examined.isBeyondBits || examined.findings.flips.length > 0) {
    await onDamaged()
    return mend(options, examined, why)
  }
  const { survived, words } = deaths > 0 ? await probe(folder) : { survived: true, words: '' }
  if (survived) {
    const { blocks } = examined.findings
    logger.info({ blocks, isFinished: examined.isFinished }, 'the database is not damaged')
    return undefined
  }
  await onDamaged()
  return renew(options, `LevelDB ended a process that opened it: ${words}`)
}

/** For a database that does not open, or could not be compacted: what `error` says. */
export async function salvage(options: SalvageOptions, error: unknown): Promise<SalvageNote> {
  const cause = error instanceof Error ? error.message : String(error)
  options.logger.error({ err: error }, 'the database is damaged; it is looked through')
  if (!(await isFolder(options.folder))) return putAside(options, cause)
  return mend(options, await examine(options.folder, options.clock), cause)
}

/** As `salvage`, when mending in place did not help. */
export async function renew(options: SalvageOptions, cause: string): Promise<SalvageNote> {
  const { folder } = options
  const missingBytes = await missingRoom(options)
  if (missingBytes > 0) return putAside(options, cause, missingBytes)
  const { entries, findings } = await rebuild(folder, rebuiltFolder(folder))
  const note = noteOf(options, 'rebuilt', cause, findings, { entries })
  await swap(folder, note)
  return told(options, note)
}

async function mend(options: SalvageOptions, examined: Examination, cause: string): Promise<SalvageNote> {
  const { findings, isBeyondBits, isFinished } = examined
  const { flips } = findings
  if (isBeyondBits || !isFinished || flips.length === 0 || flips.length >= flipsMax)
    return renew(options, cause)
  const note = noteOf(options, 'mended', cause, findings)
  const aside = join(dirname(options.folder), note.aside)
  await mkdir(aside, { recursive: true, mode: 0o700 })
  for (const path of new Set(flips.map(flip => flip.path))) await copyFile(path, join(aside, basename(path)))
  await writeNote(options.folder, note)
  for (const flip of flips) await flipBack(flip)
  return told(options, note)
}

async function flipBack({ path, at, mask }: FileFlip): Promise<void> {
  const file = await open(path, 'r+')
  try {
    const byte = Buffer.alloc(1)
    await file.read(byte, 0, 1, at)
    byte[0] = (byte[0] ?? 0) ^ mask
    await file.write(byte, 0, 1, at)
    await file.sync()
  } finally {
    await file.close()
  }
}

async function putAside(options: SalvageOptions, cause: string, missingBytes?: number): Promise<SalvageNote> {
  if (options.isInUse) {
    const mend = missingBytes === undefined ? 'start Fescue again' : `free ${missingBytes} bytes of disk`
    throw new FescueError('FESCUE_STORE_FAILED', `the database is damaged (${cause}): ${mend}`)
  }
  const more = missingBytes === undefined ? {} : { missingBytes }
  const note = noteOf(options, 'put-aside', cause, new Findings(), more)
  await swap(options.folder, note)
  return told(options, note)
}

function noteOf(
  { clock, folder }: SalvageOptions,
  kind: SalvageNote['kind'],
  cause: string,
  { blocks, lostBlocks, lostBytes, lostMixedBlocks, mendedBits }: Findings,
  more: Partial<SalvageNote> = {},
): SalvageNote {
  const time = clock.now()
  const aside = `${basename(folder)}.damaged-${new Date(time).toISOString().replaceAll(':', '')}`
  const counts = { blocks, lostBlocks, lostBytes, lostMixedBlocks, mendedBits, entries: 0 }
  return { kind, time, aside, cause: cause.slice(0, 1_000), ...counts, ...more }
}

async function told({ folder, logger }: SalvageOptions, note: SalvageNote): Promise<SalvageNote> {
  logger.error({ ...note }, noteText(note, dirname(folder)))
  const parent = dirname(folder)
  const aside = (await readdir(parent)).filter(name => name.startsWith(`${basename(folder)}.damaged-`)).sort()
  for (const name of aside.slice(0, -asideFoldersMax)) {
    await rm(join(parent, name), { recursive: true, force: true })
    logger.warn(
      { folder: name },
      `of the damaged files the newest ${asideFoldersMax} folders are kept: the oldest was deleted`,
    )
  }
  return note
}

/** Bytes that the disk lacks for a second database. */
async function missingRoom({ folder, freeBytes = freeBytesOf }: SalvageOptions): Promise<number> {
  let bytes = rebuiltMoreBytes
  for (const name of await readdir(folder)) {
    if (/\.(ldb|sst|log)$/.test(name)) bytes += (await stat(join(folder, name))).size * rebuiltShare
  }
  return Math.max(0, Math.ceil(bytes - (await freeBytes(folder))))
}

async function freeBytesOf(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder)
  return bavail * bsize
}

/** Whether no other process has the database open. LevelDB takes its lock first, and then refuses what exists. */
async function isFree(folder: string): Promise<boolean> {
  const database = new Level(folder, { createIfMissing: false, errorIfExists: true })
  try {
    await database.open()
    await database.close()
    return true
  } catch (error) {
    const cause = error instanceof Error ? error.cause : undefined
    return !(cause instanceof Error && 'code' in cause && cause.code === 'LEVEL_LOCKED')
  }
}

async function isFolder(path: string): Promise<boolean> {
  return readdir(path).then(
    () => true,
    () => false,
  )
}
