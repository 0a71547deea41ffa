/**
 * What a salvage did, in `salvage.json` beside the database: for `status`, over restarts, until the folder with
 * the damaged files is deleted. The note is also what a swap of folders that was cut short is finished by.
 */
import { access, open, readFile, rename } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

export interface SalvageNote {
  /**
   * `mended`: flipped bits were set right in place. `rebuilt`: what could be read was written into a new database.
   * `put-aside`: a new one began with nothing but what the journal has.
   */
  readonly kind: 'mended' | 'rebuilt' | 'put-aside'
  /** Milliseconds since the Unix epoch. */
  readonly time: number
  /** Name of the folder, beside the database's, with the files as they were found. */
  readonly aside: string
  /** What it looked like. */
  readonly cause: string
  readonly blocks: number
  readonly mendedBits: number
  readonly lostBlocks: number
  readonly lostBytes: number
  readonly lostMixedBlocks: number
  /** Entries in the new database. */
  readonly entries: number
  /** Bytes of disk that were missing for a rebuild. */
  readonly missingBytes?: number
}

const notePath = (level: string): string => join(dirname(level), 'salvage.json')
/** Where a new database is written before it takes the place of the damaged one. */
export const rebuiltFolder = (level: string): string => `${level}.rebuilt`

/** Writes the note, synced, before the folders are swapped. */
export async function writeNote(level: string, note: SalvageNote): Promise<void> {
  const file = await open(notePath(level), 'w', 0o600)
  try {
    await file.writeFile(`${JSON.stringify(note)}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** The last salvage, as long as what it put aside is there. */
export async function readNote(level: string): Promise<SalvageNote | undefined> {
  try {
    const note: SalvageNote = JSON.parse(await readFile(notePath(level), 'utf8'))
    await access(join(dirname(level), note.aside))
    return note
  } catch {
    return undefined
  }
}

/** Puts a new database in the place of the damaged one; both moves are synced. */
export async function swap(level: string, note: SalvageNote): Promise<void> {
  await writeNote(level, note)
  await rename(level, join(dirname(level), note.aside))
  if (note.kind === 'rebuilt') await rename(rebuiltFolder(level), level)
  await syncFolder(dirname(level))
}

/** Ends a swap after whose first move the power went; true when there was one. */
export async function finishSwap(level: string): Promise<boolean> {
  if (await exists(level)) return false
  const note = await readNote(level)
  if (note?.kind !== 'rebuilt' || !(await exists(rebuiltFolder(level)))) return false
  await rename(rebuiltFolder(level), level)
  await syncFolder(dirname(level))
  return true
}

/** The note in words. `folder` is the data folder as users know it. */
export function noteText(note: SalvageNote, folder: string): string {
  const aside = join(folder, basename(note.aside))
  const at = new Date(note.time).toISOString().slice(0, 16).replace('T', ' ')
  return `${at} UTC: the database was damaged. ${whatWasDone(note)} The damaged files are in ${aside}; it can be deleted.`
}

function whatWasDone(note: SalvageNote): string {
  const { entries, kind, lostBlocks, lostBytes, mendedBits, missingBytes } = note
  const bits = `${mendedBits} flipped ${mendedBits === 1 ? 'bit was' : 'bits were'} set right`
  if (kind === 'mended') return `${bits}, nothing was lost.`
  if (kind === 'put-aside') {
    const why =
      missingBytes === undefined ? 'It cannot be read' : `A new one needs ${missingBytes} bytes more disk`
    return `${why}, so an empty one was begun with what the journal had.`
  }
  const lost =
    lostBlocks === 0
      ? 'no block was lost'
      : `${lostBlocks} ${lostBlocks === 1 ? 'block' : 'blocks'} of ${lostBytes} bytes could not be read`
  return `${entries} entries were read into a new one, ${mendedBits === 0 ? '' : `${bits}, `}${lost}.`
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
