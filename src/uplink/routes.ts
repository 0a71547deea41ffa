/**
 * Which outbox logs there are: those of the configured routes, and those that earlier configurations left behind.
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

/** A log that leaves over an uplink. */
export interface PlannedRoute {
  /** Name of the route; undefined for a log that only drains. */
  readonly name: string | undefined
  readonly to: string
  readonly filter: string
  readonly priority: number
  readonly consumer: Route | undefined
  readonly log: CommitLog
}

export interface OpenRoute extends PlannedRoute {
  readonly outbox: Outbox
}

export interface PlanOptions {
  readonly store: Store
  readonly uplinks: readonly UplinkConfig[]
  readonly routes: readonly RouteConfig[]
  /** Bound of a log whose route has none. */
  readonly maxBytes: number
  /** Whether empty logs without a route go: only before anybody publishes, for a message may be on its way to one. */
  readonly removeEmpty: boolean
}

export interface PlannedRoutes {
  readonly routes: readonly PlannedRoute[]
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

/** Makes the logs and keeps where each leads; the sending sides are opened apart, by `openOutbox`. */
export async function planRoutes(options: PlanOptions): Promise<PlannedRoutes> {
  const { store, routes } = options
  const planned = routes.map(route => planRoute(options, route))
  const tx = new Transaction().require('power')
  for (const { to, priority, log } of planned) {
    const document: RouteDocument = { to, priority }
    tx.put(uplinkSpace, `route/${log.name}`, Buffer.from(JSON.stringify(document)))
  }
  const left = await leftovers(options, new Set(planned.map(({ log }) => log)), tx)
  await store.write(tx)
  return { routes: [...planned, ...left.routes], detached: left.detached }
}

export async function openOutbox(store: Store, clock: Clock, route: PlannedRoute): Promise<OpenRoute> {
  const { log, priority } = route
  const outbox = await Outbox.open({ store, clock, log, kind: 'message', consumer, priority })
  return { ...route, outbox }
}

function planRoute({ store, maxBytes }: PlanOptions, route: RouteConfig): PlannedRoute {
  const { name, priority, ttlMs, to, filter, overflow } = route
  const log = store.log(`${logPrefix}${name}.${priority}`, { maxBytes: route.maxBytes ?? maxBytes, overflow })
  return { name, to, filter, priority, log, consumer: new Route({ name, to, log, priority, ttlMs }) }
}

/** Outbox logs that no route uses now. */
async function leftovers(
  { store, uplinks, removeEmpty }: PlanOptions,
  used: ReadonlySet<CommitLog>,
  tx: Transaction,
): Promise<PlannedRoutes> {
  const routes: PlannedRoute[] = []
  const detached: { log: CommitLog; to: string }[] = []
  for (const log of [...store.logs()]) {
    if (!log.name.startsWith(logPrefix) || used.has(log)) continue
    if (log.records === 0 && removeEmpty) {
      await store.removeLog(log)
      tx.delete(uplinkSpace, `route/${log.name}`)
      continue
    }
    const bytes = await store.get(uplinkSpace, `route/${log.name}`)
    const { to, priority }: RouteDocument =
      bytes === undefined ? { to: '', priority: 0 } : JSON.parse(bytes.toString())
    if (uplinks.some(uplink => uplink.name === to))
      routes.push({ name: undefined, to, filter: '', priority, consumer: undefined, log })
    else detached.push({ log, to })
  }
  return { routes, detached }
}
