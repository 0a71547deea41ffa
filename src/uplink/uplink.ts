/**
 * The uplink: routes keep their copy of each matching message in an outbox log, links send them.
 *
 *   router ──► route ──► log outbox.NAME.PRIORITY ──► outbox ──┐
 *                                       log ledger ──► outbox ──┴─► link ──► connector ──► receiver
 *
 * In reading order: route (what is kept), outbox (one log's sending side: D3, D9), link (one receiver: states,
 * order, retries) with turns, batch-size, suspects and reconcile (epochs and numbers), connector (the
 * interface), http-connector, http-client, cloud-events; status and timings.
 *
 * `startUplink` begins a new epoch before anything is appended, so that no copy of the data folder, however
 * old, gives an id to a second record (see reconcile). So start it before the parts that publish.
 */
import type { Clock } from '#base/clock.ts'
import { FescueError } from '#base/errors.ts'
import type { Logger } from '#base/logger.ts'
import type { Metrics } from '#base/metrics.ts'
import { type Service, untilAborted } from '#base/service.ts'
import type { OutboxBound, RouteConfig, UplinkConfig } from '#config/device-config.ts'
import type { Router } from '#router/router.ts'
import type { CommitLog } from '#store/commit-log.ts'
import type { Store } from '#store/store.ts'
import type { Connector } from './connector.ts'
import { HttpConnector } from './http-connector.ts'
import { Link } from './link.ts'
import { logKey, Outbox } from './outbox.ts'
import { type OpenRoute, openRoutes, outboxBytes } from './routes.ts'
import type { LinkStatus, UplinkStatus } from './status.ts'
import { defaultTimings, type Timings } from './timings.ts'

export interface UplinkOptions {
  readonly store: Store
  readonly router: Router
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: Metrics
  /** Name of the device. */
  readonly device: string
  readonly uplinks: readonly UplinkConfig[]
  readonly routes: readonly RouteConfig[]
  /** Bytes free on the data folder's disk: a quarter is the outbox's at the first start, and kept. */
  readonly freeDiskBytes: number
  /** Bound of all outbox logs without `maxBytes` of their own together (`{ diskShare: 0.25 }`). */
  readonly outbox?: OutboxBound
  /** Where proxies are looked up; the process's environment by default. */
  readonly environment?: Readonly<Record<string, string | undefined>>
  readonly timings?: Partial<Timings>
  /** Makes a connector; for tests. */
  readonly connect?: (uplink: UplinkConfig) => Connector
}

export interface Uplink extends Service {
  status(): UplinkStatus
  /** Cuts the link of this uplink, or all, or lets them connect again at once. Errors: FESCUE_NOT_FOUND. */
  setOnline(online: boolean, uplink?: string): void
  /** False when a link is cut. */
  readonly isOnline: boolean
}

interface OpenLink {
  readonly link: Link
  readonly config: UplinkConfig
  readonly routes: readonly OpenRoute[]
}

/** Opens logs and links; they send once `run` is called. Errors: FESCUE_CONFIG_INVALID, FESCUE_NOT_FOUND. */
export async function startUplink(options: UplinkOptions): Promise<Uplink> {
  const { store, router, uplinks, routes, logger } = options
  for (const { to, name } of routes) {
    if (!uplinks.some(uplink => uplink.name === to))
      throw new FescueError('FESCUE_NOT_FOUND', `route ${name} leads to "${to}": there is no such uplink`)
  }
  await store.startEpoch('restart')
  const maxBytes = await outboxBytes(
    store,
    options.outbox ?? { diskShare: 0.25 },
    options.freeDiskBytes,
    routes,
  )
  const opened = await openRoutes({ ...options, maxBytes })
  const links: OpenLink[] = []
  for (const config of uplinks) {
    const own = opened.routes.filter(route => route.to === config.name)
    links.push({ link: await openLink(options, config, own), config, routes: own })
  }
  for (const { consumer, filter } of opened.routes) {
    if (consumer !== undefined) router.subscribe(consumer, filter, 1)
  }
  observe(options, links)
  logger.debug({ uplinks: uplinks.length, routes: routes.length }, 'uplink started')
  return service(links, opened.detached)
}

async function openLink(
  options: UplinkOptions,
  config: UplinkConfig,
  routes: readonly OpenRoute[],
): Promise<Link> {
  const { store, clock, device, logger } = options
  const environment = options.environment ?? process.env
  const { name, url, token, tls } = config
  const connect =
    options.connect ?? (() => new HttpConnector({ device, url, token, tls, clock, environment }))
  const consumer = `uplink.${name}`
  const ledger = await Outbox.open({ store, clock, log: store.ledger, kind: 'loss', consumer, priority: 9 })
  return new Link({
    name,
    store,
    clock,
    logger,
    connector: connect(config),
    ledger,
    outboxes: routes.map(route => route.outbox),
    timings: { ...defaultTimings, ...options.timings },
  })
}

function service(links: readonly OpenLink[], detached: readonly { log: CommitLog; to: string }[]): Uplink {
  const disposed = new AbortController()
  return {
    name: 'uplink',
    get isOnline() {
      return links.every(({ link }) => link.isOnline)
    },
    async run(signal) {
      // Without a link it ends no sooner than with one.
      const ended = untilAborted(AbortSignal.any([signal, disposed.signal]))
      await Promise.all([ended, ...links.map(({ link }) => link.run(signal))])
    },
    async drain(graceMs) {
      await Promise.all(links.map(({ link }) => link.drain(graceMs)))
    },
    async [Symbol.asyncDispose]() {
      disposed.abort()
      await Promise.all(links.map(({ link }) => link.stop()))
    },
    setOnline(online, uplink) {
      const chosen = links.filter(({ link }) => uplink === undefined || link.name === uplink)
      if (uplink !== undefined && chosen.length === 0)
        throw new FescueError('FESCUE_NOT_FOUND', `there is no uplink "${uplink}"`)
      for (const { link } of chosen) link.setOnline(online)
    },
    status: () => ({
      links: links.map(statusOf),
      detached: detached.map(({ log, to }) => ({ log: logKey(log), to, records: log.records })),
    }),
  }
}

function statusOf({ link, config, routes }: OpenLink): LinkStatus {
  const { recordsPerS, ...counts } = link.counts
  let queuedRecords = 0
  let queuedBytes = 0
  let oldestAt: number | undefined
  for (const { outbox } of routes) {
    queuedRecords += outbox.records
    queuedBytes += outbox.log.bytes
    if (outbox.records > 0)
      oldestAt = Math.min(
        oldestAt ?? Number.POSITIVE_INFINITY,
        outbox.log.oldestAt ?? Number.POSITIVE_INFINITY,
      )
  }
  return {
    uplink: link.name,
    url: config.url,
    link: link.state,
    ...counts,
    queuedRecords,
    queuedBytes,
    oldestAt: oldestAt === Number.POSITIVE_INFINITY ? undefined : oldestAt,
    drainSeconds: recordsPerS === 0 ? undefined : Math.ceil(queuedRecords / recordsPerS),
    logs: routes.map(({ name, outbox }) => ({
      log: outbox.key,
      route: name,
      priority: outbox.priority,
      records: outbox.records,
      bytes: outbox.log.bytes,
      oldestAt: outbox.log.oldestAt,
      acknowledged: outbox.low,
    })),
  }
}

function observe({ metrics }: UplinkOptions, links: readonly OpenLink[]): void {
  const of = (read: (link: OpenLink) => number) => () =>
    links.map(open => ({ labels: { uplink: open.link.name }, value: read(open) }))
  metrics.collect(
    'fescue_uplink_connected',
    'Whether the link stands (1) or not (0).',
    ['uplink'],
    of(({ link }) => (link.state.state === 'connected' ? 1 : 0)),
  )
  metrics.collect(
    'fescue_uplink_queued_records',
    'Records that wait for the receiver.',
    ['uplink'],
    of(open => statusOf(open).queuedRecords),
  )
  metrics.collect(
    'fescue_uplink_sent_records',
    'Records acknowledged by the receiver since the start.',
    ['uplink'],
    of(({ link }) => link.counts.sentRecords),
  )
}
