/**
 * What the database says about the run that writes it: where it ran, in which boot, and whether it ended well.
 * From that follows whether a new epoch begins.
 */
import type { Backend, BackendOperation } from './backend.ts'
import { meta } from './keys.ts'
import type { Place } from './place.ts'
import { readMeta } from './recovery.ts'
import type { EpochReason } from './store.ts'
import { sealJson } from './values.ts'

export interface Run {
  readonly place: Place
  readonly clean: boolean
  /** Number of the last batch; only after a clean end. */
  readonly batch: number
  /** Batches below are not needed from the journal. */
  readonly firstBatch: number
}

/** The last run, or undefined in a new database. */
export async function readRun(backend: Backend): Promise<Run | undefined> {
  const bytes = await readMeta(backend, meta.run)
  return bytes === undefined ? undefined : JSON.parse(bytes.toString())
}

/** Writes the marker and `more`, synced. */
export function writeRun(backend: Backend, run: Run, more: readonly BackendOperation[] = []): Promise<void> {
  const marker = { type: 'put' as const, key: Buffer.from(meta.run), value: sealJson(meta.run, run) }
  return backend.batch([...more, marker], true)
}

export interface Circumstances {
  /** No epoch was ever begun here. */
  readonly isNew: boolean
  readonly salvaged: boolean
  readonly place: Place
  readonly last: Run | undefined
  /** The last run appended records of class `memory`, which die with the process. */
  readonly volatile: boolean
}

/**
 * Why a new epoch begins, or undefined when the old one goes on. A killed process keeps its epoch: what it
 * had written is in the kernel's page cache. Another boot may have lost what was not synced.
 */
export function newEpochReason({
  isNew,
  salvaged,
  place,
  last,
  volatile,
}: Circumstances): EpochReason | undefined {
  if (salvaged) return 'salvage'
  if (isNew) return 'created'
  if (last === undefined) return 'salvage'
  if (last.place.machine !== place.machine || last.place.file !== place.file) return 'moved'
  if (last.clean) return undefined
  return isSameBoot(last, place) && !volatile ? undefined : 'power-loss'
}

/** Whether what the last run had written is still in the kernel's page cache, or on disk. */
export function isSameBoot(last: Run, place: Place): boolean {
  return place.boot !== '' && place.boot === last.place.boot
}
