/** The API's backend: each call goes to the part that knows. */
import { join } from 'node:path'
import type {
  Backend,
  Buffered,
  ConfigValue,
  DeadLetter,
  DeadLetterQuery,
  DeadLetterSelection,
  DeviceInfo,
  FunctionInfo,
  Health,
  InvokeOutcome,
  LiveMessage,
  LogEntry,
  LogQuery,
  PublishInput,
  ReadyCheck,
  ReloadOutcome,
  Status,
} from '#api/backend.ts'
import { FescueError } from '#base/errors.ts'
import type { LiveEvent } from '#base/live-event.ts'
import { nearest } from '#base/nearest.ts'
import { effectiveConfig } from '#config/effective-config.ts'
import { noteText } from '#store/salvage-note.ts'
import { buffered } from './buffer-info.ts'
import type { Parts } from './daemon.ts'
import { deadLetterInfo, functionInfo, refusedInfo } from './function-info.ts'
import { linkStateOf, uplinkInfo } from './link-state.ts'

export class DaemonBackend implements Backend {
  readonly #parts: Parts
  /** Known once the API listens. */
  httpPort = 0

  constructor(parts: Parts) {
    this.#parts = parts
  }

  async status(): Promise<Status> {
    const { config, version, startedAt, store, router, broker, invoker, uplink } = this.#parts
    const functions = invoker.functions()
    const { batches, syncs, bytesWritten, lost } = store.stats
    const { state, message } = this.health()
    return {
      device: config.device,
      version,
      node: process.version,
      pid: process.pid,
      startedAt,
      epoch: store.epoch,
      state,
      ...(message !== undefined && { message }),
      mqtt: {
        host: broker.host,
        port: broker.port,
        clients: broker.clients.count,
        sessions: broker.sessions.size,
      },
      http: { host: config.http.host, port: this.httpPort },
      functions: {
        total: functions.length,
        failed: functions.filter(each => each.condition !== 'running').length,
      },
      uplinks: uplink.status().links.map(uplinkInfo),
      traffic: router.stats,
      store: { batches, syncs, bytesWritten, lost },
      memoryBytes: process.memoryUsage.rss(),
    }
  }

  health(): Health {
    const { config, store } = this.#parts
    const { health, lastSalvage } = store
    if (health.state === 'degraded') return { state: 'degraded', message: health.message }
    return lastSalvage === undefined
      ? { state: 'ok' }
      : { state: 'ok', message: noteText(lastSalvage, join(config.data, 'store')) }
  }

  ready(): readonly ReadyCheck[] {
    const { store, uplink, invoker } = this.#parts
    const { folderError } = invoker
    const links = uplink.status().links.map(({ uplink: name, link }) => {
      const { state, reason } = linkStateOf(link)
      return { id: `uplink.${name}`, ok: state === 'connected', optional: true, message: reason ?? state }
    })
    return [
      {
        id: 'store',
        ok: store.accepting,
        ...(store.health.state === 'degraded' && { message: store.health.message }),
      },
      {
        id: 'functions',
        ok: folderError === undefined,
        optional: true,
        ...(folderError !== undefined && { message: folderError }),
      },
      { id: 'broker', ok: true },
      ...links,
    ]
  }

  async functions(): Promise<readonly FunctionInfo[]> {
    return this.#parts.invoker.functions().map(functionInfo)
  }

  async function(name: string): Promise<FunctionInfo> {
    const rows = this.#parts.invoker.functions()
    const found = rows.find(row => row.name === name)
    if (found !== undefined) return functionInfo(found)
    const near = nearest(
      name,
      rows.map(row => row.name),
    )
    const hint = near === undefined ? '' : `; did you mean "${near}"?`
    throw new FescueError('FESCUE_NOT_FOUND', `there is no function "${name}"${hint}`)
  }

  invoke(name: string, payload: Buffer, options: { readonly topic: string }): Promise<InvokeOutcome> {
    return this.#parts.invoker.invoke(name, payload, options)
  }

  async purge(name: string): Promise<{ readonly records: number }> {
    return { records: await this.#parts.invoker.purge(name) }
  }

  async deadLetters({ function: name, route, limit }: DeadLetterQuery): Promise<readonly DeadLetter[]> {
    const { invoker, uplink } = this.#parts
    const own =
      name === undefined && route !== undefined
        ? []
        : await invoker.deadLetters({ ...(name !== undefined && { function: name }), limit })
    const refused =
      route === undefined && name !== undefined
        ? []
        : await uplink.refused.list({ ...(route !== undefined && { route }), limit })
    return [...own.map(deadLetterInfo), ...refused.map(refusedInfo)]
      .sort((a, b) => b.time - a.time)
      .slice(0, limit)
  }

  async retryDeadLetters(selection: DeadLetterSelection): Promise<{ readonly count: number }> {
    const { function: name, route = '', offsets } = selection
    const { invoker, uplink } = this.#parts
    if (name === undefined) return { count: await uplink.refused.retry(route, offsets) }
    return { count: await invoker.retryDeadLetters(name, offsets) }
  }

  async dropDeadLetters(selection: DeadLetterSelection): Promise<{ readonly count: number }> {
    const { function: name, route = '', offsets } = selection
    const { invoker, uplink } = this.#parts
    if (name === undefined) return { count: await uplink.refused.drop(route, offsets) }
    return { count: await invoker.dropDeadLetters(name, offsets) }
  }

  async buffer(): Promise<Buffered> {
    const { store, uplink } = this.#parts
    return buffered(store, uplink.status())
  }

  async devices(): Promise<readonly DeviceInfo[]> {
    await this.#parts.devices.reload()
    return this.#parts.devices.list()
  }

  async addDevice(name: string): Promise<{ readonly name: string; readonly password: string }> {
    return { name, password: await this.#parts.devices.add(name) }
  }

  async revokeDevice(name: string): Promise<void> {
    await this.#parts.devices.revoke(name)
    this.#parts.broker.disconnectUser(name)
  }

  publish({ topic, payload, qos, retain }: PublishInput): Promise<void> {
    const { router, clock } = this.#parts
    return router.publish({
      topic,
      payload,
      qos,
      retain,
      time: clock.now(),
      origin: { kind: 'http' },
      hops: 0,
    })
  }

  messages(filter: string, listener: (message: LiveMessage) => void): () => void {
    return this.#parts.feed.onMessage(filter, listener)
  }

  events(listener: (event: LiveEvent) => void): () => void {
    const stop = this.#parts.feed.onEvent(listener)
    const { uplink, clock } = this.#parts
    for (const { uplink: name, link } of uplink.status().links) {
      const { state, reason } = linkStateOf(link)
      listener({
        type: 'link',
        time: clock.now(),
        uplink: name,
        state,
        ...(reason !== undefined && { reason }),
      })
    }
    return stop
  }

  logLines(query: LogQuery): readonly LogEntry[] {
    return this.#parts.log.recent(query)
  }

  followLogLines(query: LogQuery, listener: (entry: LogEntry) => void): () => void {
    return this.#parts.log.follow(query, listener)
  }

  config(): readonly ConfigValue[] {
    return effectiveConfig(this.#parts.reconfigure.loaded)
  }

  reloadConfig(): Promise<ReloadOutcome> {
    return this.#parts.reconfigure.reload()
  }

  async setLink(online: boolean, uplink?: string): Promise<void> {
    this.#parts.uplink.setOnline(online, uplink)
  }
}
