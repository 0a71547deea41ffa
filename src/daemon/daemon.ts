/**
 * The daemon: the only place that knows all parts. Wiring, order of start, order of stop (D7).
 *
 *   start   folder, secrets ► store ► router ► uplink ► sandbox ► invoker ► broker ► api      listeners last
 *   drain   api, broker take nothing new ► invoker ends its batches ► uplink sends what it can
 *   stop    in reverse order of start; the store closes last
 *
 * The uplink comes before whoever publishes, because it begins a new epoch (D9); the invoker before the
 * broker, so that triggers are subscribed before the first message is taken (D1).
 */

import { createHmac } from 'node:crypto'
import { mkdir, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { type Api, startApi } from '#api/api.ts'
import { observeProcess, PromMetrics } from '#api/metrics.ts'
import type { Clock } from '#base/clock.ts'
import { installation } from '#base/installation.ts'
import type { Logger } from '#base/logger.ts'
import type { Service } from '#base/service.ts'
import { startBroker } from '#broker/broker.ts'
import type { Broker } from '#broker/broker-options.ts'
import type { DeviceConfig } from '#config/device-config.ts'
import { Devices } from '#config/devices.ts'
import { openSecret } from '#config/secret.ts'
import { openToken } from '#config/token.ts'
import { type Invoker, startInvoker } from '#invoker/invoker.ts'
import { Retained } from '#router/retained.ts'
import { Router } from '#router/router.ts'
import { createSandbox } from '#sandbox/supervisor.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'
import { startUplink, type Uplink } from '#uplink/uplink.ts'
import packageJson from '../../package.json' with { type: 'json' }
import { DaemonBackend } from './api-backend.ts'
import { brokerOptions, invokerChange, ledgerLimits, routerChange, uplinkOptions } from './config-parts.ts'
import { DaemonLog } from './daemon-log.ts'
import { LiveFeed } from './live-feed.ts'
import { type ConfigSource, Reconfigure } from './reconfigure.ts'
import { relayEvents } from './relay-events.ts'
import { observeStore } from './store-metrics.ts'

export interface DaemonOptions {
  /** Lets every level through: `log.level` of the config decides, and may change. */
  readonly logger: Logger
  readonly clock: Clock
}

export interface Daemon extends Service {
  readonly mqttPort: number
  readonly httpPort: number
  /** Reads the configuration again; see `reconfigure.ts`. Never rejects: what came of it stands in the log. */
  reload(): Promise<void>
  /** Resolves when the database has answered: for a watchdog, which takes no answer for an answer. */
  alive(): Promise<void>
}

/** What the API's backend delegates to. */
export interface Parts {
  readonly config: DeviceConfig
  readonly version: string
  readonly startedAt: number
  readonly clock: Clock
  readonly store: Store
  readonly router: Router
  readonly devices: Devices
  readonly invoker: Invoker
  readonly uplink: Uplink
  readonly broker: Broker
  readonly feed: LiveFeed
  readonly log: DaemonLog
  readonly reconfigure: Reconfigure
}

/**
 * Starts all parts; resolves when the daemon serves. A failed start stops what had started.
 * Errors: those of the parts; FESCUE_STORE_LOCKED when another daemon uses the folder.
 */
export async function startDaemon(source: ConfigSource, options: DaemonOptions): Promise<Daemon> {
  await using starting = new AsyncDisposableStack()
  const { config } = source.loaded
  const { clock } = options
  const logger = DaemonLog.over(options.logger, clock, config.log.level)
  for (const warning of source.loaded.warnings) logger.warn({}, warning)
  const metrics = new PromMetrics()
  const { version } = packageJson
  await mkdir(config.data, { recursive: true, mode: 0o700 })
  const store = starting.use(await openStoreOf(config, clock, logger))
  starting.defer(observeProcess(metrics, version))
  observeStore(metrics, store)
  const secret = await openSecret(config.data)
  const devices = await Devices.open({ dataFolder: config.data, secret, users: config.users })
  const retained = await Retained.open(store)
  const router = new Router({ store, retained, clock, ...routerChange(config) })
  const shared = { store, router, clock, metrics }
  const uplink = starting.use(
    await startUplink({
      ...shared,
      ...uplinkOptions(config, logger),
      freeDiskBytes: await freeBytes(config.data),
    }),
  )
  const cacheFolder = join(config.data, 'bundles')
  const sandbox = starting.use(
    createSandbox({ clock, logger: logger.child({ part: 'sandbox' }), metrics, cacheFolder }),
  )
  const invoker = starting.use(
    await startInvoker({
      ...shared,
      sandbox,
      logger: logger.child({ part: 'invoker' }),
      ...invokerChange(config),
      cacheFolder,
      deviceSecret: createHmac('sha256', secret).update('functions').digest('hex'),
      watch: true,
    }),
  )
  const broker = starting.use(await startBroker({ ...shared, ...brokerOptions(config, logger, devices) }))
  const live = { store, router, devices, uplink, invoker, broker, log: logger }
  const reconfigure = new Reconfigure(source, live)
  const parts: Parts = {
    ...live,
    config,
    version,
    startedAt: clock.now(),
    clock,
    feed: new LiveFeed(),
    reconfigure,
  }
  starting.use(relayEvents(parts))
  const backend = new DaemonBackend(parts)
  const api = starting.use(
    await startApi({
      backend,
      dataFolder: config.data,
      http: config.http,
      token: await openToken(config.data),
      metrics,
      pages: installation.dashboard,
      clock,
      logger: logger.child({ part: 'api' }),
    }),
  )
  backend.httpPort = api.port
  // Now, that all listen: a first message would wait a second for it on a small board.
  sandbox.prepare()
  return new RunningDaemon({ api, broker, invoker, uplink }, store, reconfigure, starting.move())
}

async function openStoreOf(config: DeviceConfig, clock: Clock, logger: Logger): Promise<Store> {
  const { freeDiskMinBytes } = config.limits
  const folder = join(config.data, 'store')
  const store = await openStore({ folder, clock, logger: logger.child({ part: 'store' }), freeDiskMinBytes })
  store.ledger.setLimits(ledgerLimits(config))
  return store
}

async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder)
  return bavail * bsize
}

interface Services {
  readonly api: Api
  readonly broker: Broker
  readonly invoker: Invoker
  readonly uplink: Uplink
}

class RunningDaemon implements Daemon {
  readonly name = 'daemon'
  readonly #services: Services
  readonly #store: Store
  readonly #reconfigure: Reconfigure
  readonly #stack: AsyncDisposableStack
  #draining: Promise<void> | undefined

  constructor(services: Services, store: Store, reconfigure: Reconfigure, stack: AsyncDisposableStack) {
    this.#services = services
    this.#store = store
    this.#reconfigure = reconfigure
    this.#stack = stack
  }

  get mqttPort(): number {
    return this.#services.broker.port
  }

  get httpPort(): number {
    return this.#services.api.port
  }

  async reload(): Promise<void> {
    if (this.#draining !== undefined) return
    // It is in the log.
    await this.#reconfigure.reload().catch(() => {})
  }

  async alive(): Promise<void> {
    await this.#store.get('watchdog', 'none')
  }

  /** Any part that ends or breaks ends the daemon. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.race(Object.values(this.#services).map((service: Service) => service.run(signal)))
  }

  drain(graceMs: number): Promise<void> {
    this.#draining ??= this.#drain(graceMs)
    return this.#draining
  }

  async #drain(graceMs: number): Promise<void> {
    const { api, broker, invoker, uplink } = this.#services
    const deadline = performance.now() + graceMs
    const leftMs = () => Math.max(0, deadline - performance.now())
    await Promise.allSettled([api.drain(graceMs / 3), broker.drain(graceMs / 3)])
    await Promise.allSettled([invoker.drain(leftMs() / 2)])
    await Promise.allSettled([uplink.drain(leftMs() / 2)])
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync()
  }
}
