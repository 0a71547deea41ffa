/**
 * Another configuration for a daemon that runs: read anew, compared, applied as a whole or not at all.
 *
 *   SIGHUP, API ─► read (file, environment, flags) ─► changes ─┬─ a key needs a restart ─► nothing is applied
 *                       │ invalid: nothing is applied          └─ prepare (may fail) ─► apply (cannot)
 *
 * So the running configuration is always one that somebody wrote, never a mix of two. Connections of MQTT clients
 * stand throughout, and so do requests of the API. Changes are applied one after the other.
 */
import type { ReloadOutcome } from '#api/backend.ts'
import { asFescueError } from '#base/errors.ts'
import type { Broker } from '#broker/broker-options.ts'
import { checkListen } from '#broker/listener.ts'
import { changesBetween } from '#config/config-changes.ts'
import type { DeviceConfig } from '#config/device-config.ts'
import type { Devices } from '#config/devices.ts'
import type { LoadedConfig } from '#config/load-config.ts'
import type { Invoker } from '#invoker/invoker.ts'
import type { Router } from '#router/router.ts'
import type { Store } from '#store/store.ts'
import type { Uplink } from '#uplink/uplink.ts'
import { brokerChange, invokerChange, ledgerLimits, routerChange, uplinkChange } from './config-parts.ts'
import type { DaemonLog } from './daemon-log.ts'

/** The configuration as it was read at the start, and how to read it again. */
export interface ConfigSource {
  readonly loaded: LoadedConfig
  /** Errors: those of `loadConfig`. */
  read(): Promise<LoadedConfig>
}

/** What takes another configuration. */
export interface ReconfiguredParts {
  readonly store: Store
  readonly router: Router
  readonly devices: Devices
  readonly uplink: Uplink
  readonly invoker: Invoker
  readonly broker: Broker
  readonly log: DaemonLog
}

export class Reconfigure {
  readonly #source: ConfigSource
  readonly #parts: ReconfiguredParts
  #loaded: LoadedConfig
  #applying: Promise<unknown> = Promise.resolve()

  constructor(source: ConfigSource, parts: ReconfiguredParts) {
    this.#source = source
    this.#loaded = source.loaded
    this.#parts = parts
  }

  /** The configuration that is in force. */
  get loaded(): LoadedConfig {
    return this.#loaded
  }

  /** Errors: those of `loadConfig` and of a part's preparation; each is logged, and the running one stays. */
  reload(): Promise<ReloadOutcome> {
    const outcome = this.#applying.then(() => this.#reload())
    this.#applying = outcome.catch(() => {})
    return outcome
  }

  async #reload(): Promise<ReloadOutcome> {
    const { log } = this.#parts
    try {
      const loaded = await this.#source.read()
      for (const warning of loaded.warnings) log.warn({}, warning)
      const outcome = await this.#change(loaded)
      logOutcome(log, outcome)
      return outcome
    } catch (error) {
      const { code, message } = asFescueError(error)
      const text = 'the configuration was not applied; the one before stays in force'
      for (const line of message.split('\n')) log.error({ code }, `${text}: ${line}`)
      throw error
    }
  }

  async #change(loaded: LoadedConfig): Promise<ReloadOutcome> {
    const changes = changesBetween(this.#loaded, loaded)
    if (changes.some(({ effect }) => effect === 'restart')) return { outcome: 'restart', changes }
    const { broker, devices } = this.#parts
    const { config } = loaded
    await devices.reload()
    checkListen(broker.host, devices.countWith(config.users))
    // Also without a change: certificates and folders may have new content.
    const applyToBroker = await broker.prepare(brokerChange(config))
    await this.#parts.uplink.update(uplinkChange(config))
    applyToBroker()
    await this.#apply(config)
    this.#loaded = loaded
    return { outcome: changes.length === 0 ? 'unchanged' : 'applied', changes }
  }

  /** Cannot fail: what could was tried before. */
  async #apply(config: DeviceConfig): Promise<void> {
    const { store, router, devices, invoker, broker, log } = this.#parts
    router.update(routerChange(config))
    store.ledger.setLimits(ledgerLimits(config))
    log.level = config.log.level
    for (const name of devices.setUsers(config.users)) broker.disconnectUser(name)
    await broker.checkUsers()
    await store.setFreeDiskMin(config.limits.freeDiskMinBytes)
    await invoker.update(invokerChange(config))
  }
}

function logOutcome(log: DaemonLog, { outcome, changes }: ReloadOutcome): void {
  const keys = changes.map(({ key }) => key)
  if (outcome === 'unchanged') log.info({}, 'the configuration was read again: nothing changed')
  else if (outcome === 'applied') log.info({ keys }, `the configuration changed: ${keys.join(', ')}`)
  else {
    const held = changes.filter(({ effect }) => effect === 'restart').map(({ key }) => key)
    log.error({ keys: held }, `nothing was applied: ${held.join(', ')} can change with a restart only`)
  }
}
