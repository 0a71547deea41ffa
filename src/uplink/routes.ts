/**
 * Opens the outbox logs: those of the configured routes, and those that earlier configurations left behind.
 *
 * A document names uplink and priority of each outbox log. A log whose route is gone drains to its uplink and is
 * removed at a later start once it is empty; when its uplink is gone too it is kept and shown as detached.
 */
import type { Clock } from '#base/clock.ts'
import type { OutboxBound, RouteConfig, UplinkConfig } from '#config/device-config.ts'
import type { CommitLog } from '#store/commit-log.ts'
import type { Store } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'
import { Outbox, uplinkSpace } from './outbox.ts'
import { Route } from './route.ts'

export interface OpenRoute {
  /** Name of the route; undefined for a log that only drains. */
  readonly name: string | undefined
  readonly to: string
  readonly filter: string
  readonly consumer: Route | undefined
  readonly outbox: Outbox
}

export interface OpenRoutesOptions {
  readonly store: Store
  readonly clock: Clock
  readonly uplinks: readonly UplinkConfig[]
  readonly routes: readonly RouteConfig[]
  /** Bound of a log whose route has none. */
  readonly maxBytes: number
}

export interface OpenedRoutes {
  readonly routes: readonly OpenRoute[]
  readonly detached: readonly { readonly log: CommitLog; readonly to: string }[]
}

interface RouteDocument {
  readonly to: string
  readonly priority: number
}

/** Bytes that a share of the free disk was when it was first asked for. */
interface DiskShare {
  readonly diskShare: number
  readonly bytes: number
}

/** Consumer of the outbox logs. */
const consumer = 'uplink'
const boundKey = 'outbox-bytes'
const logPrefix = 'outbox.'

/**
 * Bytes for each outbox log without a bound of its own: an equal part of what all have together. A share of the
 * disk is worked out once, and again when another share is configured.
 */
export async function outboxBytes(
  store: Store,
  bound: OutboxBound,
  freeDiskBytes: number,
  routes: readonly RouteConfig[],
): Promise<number> {
  const sharing = routes.filter(route => route.maxBytes === undefined).length
  const total = 'bytes' in bound ? bound.bytes : await shareOfDisk(store, bound.diskShare, freeDiskBytes)
  return Math.floor(total / Math.max(1, sharing))
}

async function shareOfDisk(store: Store, diskShare: number, freeDiskBytes: number): Promise<number> {
  const document = await store.get(uplinkSpace, boundKey)
  const kept: DiskShare | undefined = document && JSON.parse(document.toString())
  if (kept?.diskShare === diskShare) return kept.bytes
  const share: DiskShare = { diskShare, bytes: Math.floor(freeDiskBytes * diskShare) }
  const tx = new Transaction().require('power')
  tx.put(uplinkSpace, boundKey, Buffer.from(JSON.stringify(share)))
  await store.write(tx)
  return share.bytes
}

export async function openRoutes(options: OpenRoutesOptions): Promise<OpenedRoutes> {
  const { store, routes } = options
  const opened: OpenRoute[] = []
  const tx = new Transaction().require('power')
  for (const route of routes) {
    const open = await openRoute(options, route)
    opened.push(open)
    const document: RouteDocument = { to: route.to, priority: route.priority }
    tx.put(uplinkSpace, `route/${open.outbox.log.name}`, Buffer.from(JSON.stringify(document)))
  }
  const left = await leftovers(options, new Set(opened.map(({ outbox }) => outbox.log)), tx)
  await store.write(tx)
  return { routes: [...opened, ...left.routes], detached: left.detached }
}

async function openRoute(
  { store, clock, maxBytes }: OpenRoutesOptions,
  route: RouteConfig,
): Promise<OpenRoute> {
  const { name, priority, ttlMs, to, filter, overflow } = route
  const log = store.log(`${logPrefix}${name}.${priority}`, { maxBytes: route.maxBytes ?? maxBytes, overflow })
  const outbox = await Outbox.open({ store, clock, log, kind: 'message', consumer, priority })
  return { name, to, filter, consumer: new Route({ name, log, priority, ttlMs }), outbox }
}

/** Outbox logs that no route uses now. */
async function leftovers(
  { store, clock, uplinks }: OpenRoutesOptions,
  used: ReadonlySet<CommitLog>,
  tx: Transaction,
): Promise<OpenedRoutes> {
  const routes: OpenRoute[] = []
  const detached: { log: CommitLog; to: string }[] = []
  for (const log of [...store.logs()]) {
    if (!log.name.startsWith(logPrefix) || used.has(log)) continue
    if (log.records === 0) {
      await store.removeLog(log)
      tx.delete(uplinkSpace, `route/${log.name}`)
      continue
    }
    const bytes = await store.get(uplinkSpace, `route/${log.name}`)
    const { to, priority }: RouteDocument =
      bytes === undefined ? { to: '', priority: 0 } : JSON.parse(bytes.toString())
    if (uplinks.some(uplink => uplink.name === to)) {
      const outbox = await Outbox.open({ store, clock, log, kind: 'message', consumer, priority })
      routes.push({ name: undefined, to, filter: '', consumer: undefined, outbox })
    } else detached.push({ log, to })
  }
  return { routes, detached }
}
