/** What waits on disk, as the API shows it: by uplink, by route, by log, and what was lost. */
import type { Buffered, LogInfo, RouteInfo } from '#api/backend.ts'
import type { CommitLog } from '#store/commit-log.ts'
import type { Store } from '#store/store.ts'
import { refusedCount } from '#uplink/refused.ts'
import type { LogStatus, UplinkStatus } from '#uplink/status.ts'
import { uplinkInfo } from './link-state.ts'

export function buffered(store: Store, { links, detached }: UplinkStatus): Buffered {
  return {
    uplinks: links.map(uplinkInfo),
    routes: [
      ...links.flatMap(({ uplink, logs }) => logs.map(log => routeInfo(store, uplink, log))),
      ...detached.map(({ to, stored }) => detachedInfo(store, to, stored)),
    ],
    logs: [...store.logs()].map(logInfo),
    ledger: { entries: store.ledger.records, lost: store.stats.lost },
  }
}

function logInfo(log: CommitLog): LogInfo {
  const { name, records, bytes, limits, oldestAt } = log
  return {
    log: name,
    records,
    bytes,
    maxBytes: limits.maxBytes,
    overflow: limits.overflow,
    ...(oldestAt !== undefined && { oldestAt }),
  }
}

function routeInfo(store: Store, uplink: string, status: LogStatus): RouteInfo {
  const { route, filter, priority, stored, records, acknowledged, perSecond } = status
  return {
    ...(route !== undefined && { route }),
    ...(filter !== undefined && { filter }),
    priority,
    uplink,
    ...logInfo(stored),
    records,
    appended: stored.end,
    acknowledged,
    perSecond,
    ...(records > 0 && perSecond > 0 && { drainMs: Math.round((records / perSecond) * 1_000) }),
    refused: refusedCount(store, stored),
  }
}

/** Its uplink is gone: it waits until that is configured again. */
function detachedInfo(store: Store, uplink: string, log: CommitLog): RouteInfo {
  const priority = Number(log.name.slice(log.name.lastIndexOf('.') + 1))
  const still = { appended: log.end, acknowledged: log.head, perSecond: 0 }
  return { priority, uplink, ...logInfo(log), ...still, refused: refusedCount(store, log) }
}
