/** The table of all functions: those that run, those whose folder is gone, those that never built. */
import type { FescueError } from '#base/errors.ts'
import type { Sandbox } from '#sandbox/sandbox.ts'
import type { Store } from '#store/store.ts'
import { type ActiveFunction, inboxLogName } from './active-function.ts'
import type { Catalog, FunctionEntry } from './catalog.ts'
import type { DeadLetters } from './dead-letters.ts'
import { activeStatus, detachedStatus, type FunctionStatus, unavailableStatus } from './function-status.ts'
import type { Schedules } from './schedules.ts'

/** How long inbox and state of a function stay whose folder is gone. */
export const detachedKeptMs: number = 7 * 24 * 60 * 60 * 1_000

export interface RowSources {
  readonly store: Store
  readonly sandbox: Sandbox
  readonly catalog: Catalog
  readonly schedules: Schedules
  readonly active: ReadonlyMap<string, ActiveFunction>
  /** Why a folder's present content is not what runs. */
  readonly problems: ReadonlyMap<string, FescueError>
  readonly dead: DeadLetters
}

/** A row for each function, by name. */
export function functionRows(sources: RowSources): FunctionStatus[] {
  const { sandbox, catalog, schedules, active, problems } = sources
  const stats = new Map(sandbox.stats().map(each => [each.name, each]))
  const rows = new Map<string, FunctionStatus>()
  for (const [name, error] of problems) rows.set(name, unavailableStatus(name, error))
  for (const entry of catalog.all())
    if (entry.state === 'detached') rows.set(entry.name, detachedRow(entry, sources))
  for (const [name, each] of active)
    rows.set(name, activeStatus(each, problems.get(name), schedules.next(name), stats.get(name)))
  return [...rows.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}

function detachedRow(
  entry: FunctionEntry & { state: 'detached' },
  { store, dead }: RowSources,
): FunctionStatus {
  const log = store.findLog(inboxLogName(entry.name))
  const inbox = { records: log?.records ?? 0, bytes: log?.bytes ?? 0, maxBytes: log?.limits.maxBytes ?? 0 }
  const deadLetters = dead.find(entry.name)?.count ?? 0
  return detachedStatus(entry, { inbox, deadLetters }, entry.detachedAt + detachedKeptMs)
}
