/**
 * Opens the store of a data folder.
 *
 * The parts are in the files beside this one; this is only the order in which they start.
 */
import type { Clock } from '#base/clock.ts'
import { FescueError } from '#base/errors.ts'
import type { Logger } from '#base/logger.ts'
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
}

/** Opens or creates. Errors: FESCUE_STORE_LOCKED, FESCUE_STORE_FORMAT, FESCUE_STORE_FAILED. */
export function openStore(_options: StoreOptions): Promise<Store> {
  return Promise.reject(new FescueError('FESCUE_INTERNAL', 'not built yet'))
}
