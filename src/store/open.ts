/**
 * Opens the store of a data folder: the order in which its parts come up.
 *
 *   place (format, machine, boot) ─► database (locked? damaged?) ─► logs, timers ─► epoch ─► tails ─► writer
 *
 *   folder/store.json       format version and id, read before the database is touched
 *   folder/level/           LevelDB
 *   folder/journal/         the journal's segments
 *   folder/level.damaged-…  files of a damaged database as they were found: the newest four are kept
 *   folder/salvage.json     what was done about it
 *   folder/starts.json      starts in a row that died: see `starts.ts`
 */
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '#base/clock.ts'
import type { Logger } from '#base/logger.ts'
import { assemble } from './assembly.ts'
import type { Backend } from './backend.ts'
import { EndNote } from './end-note.ts'
import { Journal, journalSegmentBytes } from './journal.ts'
import { MemoryBackend } from './memory-backend.ts'
import { openLevel } from './open-level.ts'
import type { OpenedDatabase } from './opened-database.ts'
import { findPlace, linuxMachineFiles, type MachineFiles } from './place.ts'
import type { SalvageNote } from './salvage-note.ts'
import { Starts } from './starts.ts'
import type { Store } from './store.ts'

export interface StoreOptions {
  /** Folder of the database; made when absent. `undefined` opens the in-memory implementation. */
  readonly folder: string | undefined
  readonly clock: Clock
  readonly logger: Logger
  /** Free bytes below which nothing new is accepted (256 MiB). */
  readonly freeDiskMinBytes?: number
  /** Bytes of recent records that all logs together keep in memory (8 MiB). */
  readonly tailCacheMaxBytes?: number
  /** LevelDB's write buffer (4 MiB); it has up to two. */
  readonly writeBufferBytes?: number
  /** Whether a journal takes the syncs (true; see `sink.ts`); false lets LevelDB sync itself in a new folder. */
  readonly journal?: boolean
  /** Size of a file of the journal (4 MiB). */
  readonly journalSegmentBytes?: number
  /** Where machine and boot are identified; a test names its own. */
  readonly machineFiles?: MachineFiles
  /** Puts a layer between the store and its database: for fault tests. */
  readonly wrapBackend?: (backend: Backend) => Backend
}

/** Opens or creates. Errors: FESCUE_STORE_LOCKED, FESCUE_STORE_FORMAT, FESCUE_STORE_FAILED. */
export async function openStore(options: StoreOptions): Promise<Store> {
  const { wrapBackend = backend => backend } = options
  const opened = await openBackend(options)
  const backend = wrapBackend(opened.backend)
  try {
    return await assemble({ ...opened, backend }, options)
  } catch (error) {
    await opened.journal?.close()
    await backend.close().catch(() => {})
    throw error
  }
}

async function openBackend(options: StoreOptions): Promise<OpenedDatabase> {
  const { folder, machineFiles = linuxMachineFiles, writeBufferBytes = 4 * 1024 * 1024 } = options
  if (folder === undefined) {
    const place = { boot: '', machine: '', file: '' }
    return {
      backend: new MemoryBackend(),
      place,
      isNew: true,
      salvage: undefined,
      lastSalvage: () => undefined,
      starts: undefined,
      journal: undefined,
      endNote: undefined,
    }
  }
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const { place, isNew } = await findPlace(folder, machineFiles)
  const { clock, logger } = options
  const starts = await Starts.count(folder)
  let lastSalvage: SalvageNote | undefined
  const onSalvaged = (note: SalvageNote): void => {
    lastSalvage = note
  }
  const level = { folder: join(folder, 'level'), writeBufferBytes, clock, logger, starts, onSalvaged }
  const opened = await openLevel(level).catch(async (error: unknown) => {
    await starts.failed()
    throw error
  })
  lastSalvage = opened.lastSalvage
  const found = {
    backend: opened.backend,
    salvage: opened.salvage,
    lastSalvage: () => lastSalvage,
    place,
    isNew,
    endNote: new EndNote(folder),
    starts,
  }
  const journalFolder = join(folder, 'journal')
  // A journal that is there may hold what LevelDB lacks, whatever is wanted from now on.
  if (options.journal === false && !existsSync(journalFolder)) return { ...found, journal: undefined }
  const journal = await Journal.open({
    folder: journalFolder,
    keepBytes: 3 * writeBufferBytes,
    segmentBytes: options.journalSegmentBytes ?? journalSegmentBytes,
  })
  return { ...found, journal }
}
