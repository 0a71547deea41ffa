/** A device's store, router and uplink in this process, and looks at an endpoint: what the uplink's tests share. */
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import { noMetrics } from '#base/metrics.ts'
import { type CloudEndpoint, type CloudOptions, startCloud } from '#cloud/cloud.ts'
import type { MqttUplinkConfig, RouteConfig, UplinkConfig } from '#config/device-config.ts'
import type { Message } from '#router/message.ts'
import { Retained } from '#router/retained.ts'
import { Router } from '#router/router.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'
import { startUplink, type Uplink, type UplinkOptions } from '#uplink/uplink.ts'

/** Short waits, so that tests are quick. */
export const quick = {
  reconnectInitialMs: 5,
  reconnectMaxMs: 50,
  heldMs: 20,
  refusedInitialMs: 40,
  refusedMaxMs: 100,
  requestTimeoutMs: 2_000,
  probeMs: 500,
  poisonWaitMs: 5,
  unreadyMs: 5,
}

export function temporary() {
  return mkdtempDisposable(join(tmpdir(), 'fescue-uplink-'))
}

export function cloudAt(folder: string, options: Partial<CloudOptions> = {}): Promise<CloudEndpoint> {
  return startCloud({
    folder,
    host: '127.0.0.1',
    port: 0,
    logger: silentLogger,
    clock: systemClock,
    ...options,
  })
}

export function routeAll(more: Partial<RouteConfig> = {}): RouteConfig {
  return {
    name: 'all',
    filter: '#',
    to: 'cloud',
    priority: 5,
    ttlMs: undefined,
    maxBytes: undefined,
    overflow: 'drop-oldest',
    ...more,
  }
}

export function mqttUplink(
  url: string,
  more: Partial<MqttUplinkConfig> = {},
  tls: UplinkConfig['tls'] = {},
): UplinkConfig {
  return {
    name: 'cloud',
    connector: 'mqtt',
    url,
    token: undefined,
    tls,
    mqtt: {
      clientId: 'pi',
      username: undefined,
      password: undefined,
      topic: '{topic}',
      format: 'raw',
      downlink: [],
      ...more,
    },
  }
}

export interface Device extends AsyncDisposable {
  readonly store: Store
  readonly router: Router
  readonly uplink: Uplink
  publish(topic: string, payload: unknown, more?: Partial<Message>): Promise<void>
  /** Publishes { n } for from ≤ n < to, in transactions of up to 500 messages. */
  count(from: number, to: number, more?: Partial<Message>, pad?: string): Promise<void>
  /** Resolves once nothing waits in the outbox. */
  drained(): Promise<void>
}

export interface DeviceOptions extends Partial<UplinkOptions> {
  readonly folder: string | undefined
  readonly url: string
  /** false: the link is cut from the start. */
  readonly online?: boolean
}

export async function startDevice(options: DeviceOptions): Promise<Device> {
  const { folder, url, online = true } = options
  const shared = { clock: systemClock, logger: silentLogger }
  await using starting = new AsyncDisposableStack()
  const store = starting.use(await openStore({ folder, freeDiskMinBytes: 0, ...shared }))
  const router = new Router({
    store,
    retained: await Retained.open(store),
    clock: systemClock,
    durability: [],
    blockMs: 1_000,
  })
  const uplink = starting.use(
    await startUplink({
      store,
      router,
      metrics: noMetrics,
      device: 'pi',
      uplinks: [{ name: 'cloud', connector: 'http', url, token: undefined, tls: {} }],
      routes: [routeAll()],
      freeDiskBytes: 4e9,
      environment: {},
      ...shared,
      ...options,
      timings: { ...quick, ...options.timings },
    }),
  )
  if (!online) uplink.setOnline(false)
  const running = uplink.run(new AbortController().signal)
  starting.defer(async () => running)
  const resources = starting.move()
  const message = (topic: string, payload: unknown, more: Partial<Message>): Message => ({
    topic,
    payload: Buffer.isBuffer(payload) ? payload : Buffer.from(JSON.stringify(payload)),
    qos: 1,
    retain: false,
    time: Date.now(),
    origin: { kind: 'mqtt', client: 'sensor' },
    hops: 0,
    ...more,
  })
  return {
    store,
    router,
    uplink,
    publish: (topic, payload, more = {}) => router.publish(message(topic, payload, more)),
    async count(from, to, more = {}, pad) {
      for (let n = from; n < to; ) {
        const tx = new Transaction()
        for (let i = 0; i < 500 && n < to; i++, n++) router.stage(tx, message('count', { n, pad }, more))
        await store.write(tx)
      }
    },
    drained: () => until(() => uplink.status().links.every(link => link.queuedRecords === 0)),
    async [Symbol.asyncDispose]() {
      // In reverse: the deferred wait for `run` would come before the uplink's end.
      await uplink[Symbol.asyncDispose]()
      await resources.disposeAsync()
    },
  }
}

/** Looks again every few milliseconds: for states that have no event. Fails after `timeoutMs`. */
export async function until(holds: () => boolean | Promise<boolean>, timeoutMs = 20_000): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error('it did not come to hold')
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

/** An answer, looked at loosely. */
export type Loose = ReturnType<typeof JSON.parse>

export async function get(endpoint: CloudEndpoint, path: string): Promise<Loose> {
  const response = await fetch(new URL(path, endpoint.url))
  return response.json()
}

/** All records of the device in order of arrival; none while the endpoint does not know it. */
export async function recordsOf(endpoint: CloudEndpoint, device = 'pi'): Promise<Loose[]> {
  const answer = await get(endpoint, `/v1/devices/${device}/records?after=-1&limit=1000000`)
  return Array.isArray(answer) ? answer : []
}

/** The `n` of all message records of a topic, in order of arrival. */
export async function numbersAt(endpoint: CloudEndpoint, topic = 'count'): Promise<number[]> {
  const records = await recordsOf(endpoint)
  return records.filter(record => record.subject === topic).map(record => record.data.n)
}

export function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i)
}
