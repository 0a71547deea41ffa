/**
 * The uplink: routes keep their copy of each matching message in an outbox log, links send them.
 *
 *   router ──► route ──► log outbox.NAME.PRIORITY ──► outbox ──┐
 *                                       log ledger ──► outbox ──┴─► link ──► connector ──► receiver
 *
 * In reading order: route (what is kept), outbox (one log's sending side: D3, D9), link (one receiver: states,
 * order, retries) with turns, batch-size, suspects and reconcile (epochs and numbers), connector (the
 * interface), http-connector, http-client, cloud-events, mqtt-connector and what it names; status and timings.
 *
 * `startUplink` begins a new epoch before anything is appended, so that no copy of the data folder, however
 * old, gives an id to a second record (see reconcile). So start it before the parts that publish.
 *
 * `update` takes another configuration while it runs: logs stay what they are, a link whose receiver or logs changed
 * is stopped after its request in flight and opened anew from the checkpoints, all others go on.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Clock } from '#base/clock.ts'
import { FescueError } from '#base/errors.ts'
import type { Logger } from '#base/logger.ts'
import type { Metrics } from '#base/metrics.ts'
import { type Service, untilAborted } from '#base/service.ts'
import type { OutboxBound, RouteConfig, UplinkConfig } from '#config/device-config.ts'
import type { Router } from '#router/router.ts'
import type { Store } from '#store/store.ts'
import type { Connector } from './connector.ts'
import { HttpConnector } from './http-connector.ts'
import { Link } from './link.ts'
import { type OpenLink, observeLinks, statusOf } from './link-report.ts'
import { logKey, Outbox } from './outbox.ts'
import { RefusedRecords } from './refused.ts'
import { openOutbox, outboxBytes, type PlannedRoute, type PlannedRoutes, planRoutes } from './routes.ts'
import type { UplinkStatus } from './status.ts'
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
  /** Records that a receiver would not take. */
  readonly refused: RefusedRecords
  /**
   * Sends from now on as this configuration says. A route that is gone takes nothing more; what its log holds still
   * leaves, or is kept and shown as detached when its uplink is gone too.
   * Errors: FESCUE_CONFIG_INVALID, FESCUE_NOT_FOUND; then nothing has changed.
   */
  update(change: UplinkChange): Promise<void>
}

export type UplinkChange = Pick<UplinkOptions, 'uplinks' | 'routes' | 'outbox'>

/** How long a link that is replaced may wait for the answer to its request in flight. */
const replaceGraceMs = 2_000

/** Opens logs and links; they send once `run` is called. Errors: FESCUE_CONFIG_INVALID, FESCUE_NOT_FOUND. */
export async function startUplink(options: UplinkOptions): Promise<Uplink> {
  const { store, uplinks, routes, logger } = options
  checkRoutes(options)
  await store.startEpoch('restart')
  const uplink = new UplinkService(options)
  await uplink.open()
  logger.debug({ uplinks: uplinks.length, routes: routes.length }, 'uplink started')
  return uplink
}

class UplinkService implements Uplink {
  readonly name = 'uplink'
  readonly refused: RefusedRecords
  #options: UplinkOptions
  #links: readonly OpenLink[] = []
  #planned: PlannedRoutes = { routes: [], detached: [] }
  #signal: AbortSignal | undefined
  #updating: Promise<void> = Promise.resolve()
  readonly #broken = Promise.withResolvers<void>()
  readonly #disposed = new AbortController()

  constructor(options: UplinkOptions) {
    this.#options = options
    this.refused = new RefusedRecords(options.store)
  }

  async open(): Promise<void> {
    const { uplinks, metrics } = this.#options
    const connectors = new Map<string, Connector>()
    for (const config of uplinks) connectors.set(config.name, await this.#connect(config))
    this.#take(await this.#plan(this.#options, true))
    this.#links = await this.#openLinks(connectors, [])
    observeLinks(metrics, () => this.#links)
  }

  get isOnline(): boolean {
    return this.#links.every(({ link }) => link.isOnline)
  }

  async run(signal: AbortSignal): Promise<void> {
    this.#signal = AbortSignal.any([signal, this.#disposed.signal])
    for (const open of this.#links) this.#begin(open)
    // Without a link it ends no sooner than with one.
    await Promise.race([untilAborted(this.#signal), this.#broken.promise])
    await Promise.all(this.#links.map(({ link }) => link.run(signal)))
  }

  async drain(graceMs: number): Promise<void> {
    await Promise.all(this.#links.map(({ link }) => link.drain(graceMs)))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed.abort()
    await this.#updating
    await Promise.all(this.#links.map(({ link }) => link.stop()))
  }

  setOnline(online: boolean, uplink?: string): void {
    const chosen = this.#links.filter(({ link }) => uplink === undefined || link.name === uplink)
    if (uplink !== undefined && chosen.length === 0)
      throw new FescueError('FESCUE_NOT_FOUND', `there is no uplink "${uplink}"`)
    for (const { link } of chosen) link.setOnline(online)
  }

  status(): UplinkStatus {
    return {
      links: this.#links.map(statusOf),
      detached: this.#planned.detached.map(({ log, to }) => ({
        log: logKey(log),
        to,
        records: log.records,
        stored: log,
      })),
    }
  }

  update(change: UplinkChange): Promise<void> {
    const updated = this.#updating.then(() => this.#update({ ...this.#options, ...change }))
    this.#updating = updated.catch(() => {})
    return updated
  }

  async #update(options: UplinkOptions): Promise<void> {
    checkRoutes(options)
    const same = new Set(
      options.uplinks.filter(config => this.#links.some(open => isDeepStrictEqual(open.config, config))),
    )
    // What can fail comes first: certificates that are none, a disk that takes nothing.
    const connectors = new Map<string, Connector>()
    for (const config of options.uplinks)
      if (!same.has(config)) connectors.set(config.name, await this.#connect(config))
    const planned = await this.#plan(options, false)
    this.#options = options
    this.#take(planned)
    const kept = this.#links.filter(
      open => [...same].some(({ name }) => name === open.link.name) && this.#hasSameLogs(open),
    )
    const replaced = this.#links.filter(open => !kept.includes(open))
    await Promise.all(replaced.map(({ link }) => link.drain(replaceGraceMs).then(() => link.stop())))
    this.#links = await this.#openLinks(connectors, kept)
    for (const open of this.#links) this.#begin(open)
  }

  async #plan(options: UplinkOptions, removeEmpty: boolean): Promise<PlannedRoutes> {
    const { store, outbox = { diskShare: 0.25 }, freeDiskBytes, routes } = options
    const maxBytes = await outboxBytes(store, outbox, freeDiskBytes, routes)
    return planRoutes({ ...options, maxBytes, removeEmpty })
  }

  /** In one turn, so that no message finds both consumers of a log, or none. */
  #take(planned: PlannedRoutes): void {
    const { router } = this.#options
    for (const { consumer } of this.#planned.routes) if (consumer !== undefined) router.remove(consumer)
    for (const { consumer, filter } of planned.routes)
      if (consumer !== undefined) router.subscribe(consumer, filter, 1)
    this.#planned = planned
  }

  #hasSameLogs({ link, routes }: OpenLink): boolean {
    const logs = new Set(routes.map(({ log }) => log))
    const wanted = this.#routesTo(link.name)
    return wanted.length === logs.size && wanted.every(({ log }) => logs.has(log))
  }

  #routesTo(uplink: string): readonly PlannedRoute[] {
    return this.#planned.routes.filter(route => route.to === uplink)
  }

  /** One link for each uplink, in the order of the configuration: those kept, and new ones. */
  async #openLinks(
    connectors: ReadonlyMap<string, Connector>,
    kept: readonly OpenLink[],
  ): Promise<OpenLink[]> {
    const links: OpenLink[] = []
    for (const config of this.#options.uplinks) {
      const known = kept.find(({ link }) => link.name === config.name)
      if (known !== undefined) links.push(this.#renewed(known))
      else {
        const connector = connectors.get(config.name) ?? (await this.#connect(config))
        links.push(await this.#openLink(config, connector))
      }
    }
    return links
  }

  /** The same link and outboxes; names and filters as they are now. */
  #renewed(open: OpenLink): OpenLink {
    const routes = this.#routesTo(open.link.name).flatMap(route => {
      const outbox = open.routes.find(({ log }) => log === route.log)?.outbox
      return outbox === undefined ? [] : [{ ...route, outbox }]
    })
    return { ...open, routes }
  }

  async #openLink(config: UplinkConfig, connector: Connector): Promise<OpenLink> {
    const { store, clock, logger, timings } = this.#options
    const { name } = config
    const before = this.#links.find(({ link }) => link.name === name)
    const consumer = `uplink.${name}`
    const ledger = await Outbox.open({
      store,
      clock,
      log: store.ledger,
      kind: 'loss',
      consumer,
      priority: 9,
    })
    const routes = await Promise.all(this.#routesTo(name).map(route => openOutbox(store, clock, route)))
    const link = new Link({
      name,
      store,
      clock,
      logger,
      connector,
      ledger,
      outboxes: routes.map(({ outbox }) => outbox),
      timings: { ...defaultTimings, ...timings },
      isOnline: before?.link.isOnline ?? true,
    })
    return { link, config, routes }
  }

  /** What only some connectors need is loaded with them. */
  async #connect(config: UplinkConfig): Promise<Connector> {
    const { connect, device, clock, environment = process.env } = this.#options
    if (connect !== undefined) return connect(config)
    const { url, token, tls, mqtt } = config
    if (mqtt === undefined) return new HttpConnector({ device, url, token, tls, clock, environment })
    const { openMqtt } = await import('./open-mqtt.ts')
    return openMqtt(this.#options, config, mqtt)
  }

  /** A link ends by a stop; anything else is a defect, and ends the uplink. */
  #begin({ link }: OpenLink): void {
    if (this.#signal !== undefined) link.run(this.#signal).catch(error => this.#broken.reject(error))
  }
}

function checkRoutes({ uplinks, routes }: UplinkOptions): void {
  for (const { to, name } of routes) {
    if (!uplinks.some(uplink => uplink.name === to))
      throw new FescueError('FESCUE_NOT_FOUND', `route ${name} leads to "${to}": there is no such uplink`)
  }
}
