/**
 * One fault run: publishers, functions, subscribers and the cloud at work while daemon, executor and endpoint
 * are killed (SIGKILL) at random instants; afterwards everything drains and the judge speaks.
 *
 *   load ──► kill one of three ──► start it again ──► … ──► finish ──► drain ──► evidence ──► judge
 */

import { type Proxy as LinkProxy, startProxy } from '../fakes/proxy.ts'
import { Publisher } from './publisher.ts'
import type { Random } from './random.ts'
import { Subscriber } from './subscriber.ts'
import { type CloudRecord, type DeadLetterRow, type Evidence, judge } from './verdict.ts'
import { device, topicsPerPublisher, World, type WorldOptions } from './world.ts'

export interface KillRunOptions extends WorldOptions {
  readonly random: Random
  readonly kills: number
  /** Messages per second of all publishers together. */
  readonly ratePerSecond: number
  /** Kills only this one. */
  readonly only?: Target
  /** How long everything may take to drain (60 s). */
  readonly drainWaitMs?: number
  /** Times that the link to the cloud is cut, spread over the run: at a byte of a request, of an answer, or at once. */
  readonly linkCuts?: number
  /** After so many kills the offline subscriber comes, takes its queue, and goes again (0: only at the end). */
  readonly offlineVisitEvery?: number
  readonly say?: (line: string) => void
  /** Called after each kill, for further faults (link cuts) and samples. */
  readonly afterKill?: (kill: number, world: World) => Promise<void>
}

export interface KillRunReport {
  readonly seed: number
  readonly kills: Readonly<Record<Target, number>>
  readonly sent: number
  readonly admitted: number
  readonly cloudRecords: number
  readonly deadLetters: number
  readonly linkCuts: number
  readonly subscriberDuplicates: number
  readonly endpoint: EndpointCounts
  readonly violations: readonly string[]
}

type Target = 'daemon' | 'executor' | 'endpoint'
const targets: readonly Target[] = ['daemon', 'daemon', 'daemon', 'executor', 'executor', 'endpoint']
/** How long a drained state may take to come: timeouts and retries of the looping records included. */
const drainDefaultMs = 60_000

export async function killRun(options: KillRunOptions): Promise<KillRunReport> {
  await using run = new AsyncDisposableStack()
  const { random, say = () => {} } = options
  let proxy: LinkProxy | undefined
  const uplinkPort = async (endpointPort: number) => {
    proxy = run.use(await startProxy(endpointPort))
    return proxy.port
  }
  const world = run.use(await World.create({ ...options, uplinkPort }))
  await world.startEndpoint()
  await world.startDaemon()
  const port = () => world.mqttPort
  const online = new Subscriber('online', port, 'out/#')
  const offline = new Subscriber('offline', port, 'out/count/#', 2)
  await online.start()
  await offline.start()
  await offline.pause()
  const publishers = ([1, 2] as const).map(
    qos =>
      new Publisher({
        name: `p${qos}`,
        port,
        qos,
        topics: topicsPerPublisher,
        window: 50,
        ratePerSecond: options.ratePerSecond / 2,
      }),
  )
  for (const publisher of publishers) publisher.start()
  const kills: Record<Target, number> = { daemon: 0, executor: 0, endpoint: 0 }
  for (let kill = 1; kill <= options.kills; kill++) {
    await pause(random.int(50, 700))
    const target = options.only ?? random.pick(targets)
    if (await killTarget(world, target, random)) kills[target] += 1
    else kill -= 1
    if (options.offlineVisitEvery && kill % options.offlineVisitEvery === 0) await visit(offline)
    if (proxy !== undefined) cutLink(proxy, random, options.linkCuts ?? 0, kill / options.kills)
    await options.afterKill?.(kill, world)
    if (kill % 50 === 0)
      say(`${kill} kills, ${publishers.reduce((sum, each) => sum + each.admitted.size, 0)} admitted`)
  }
  await Promise.all(publishers.map(publisher => publisher.finish()))
  const evidence = await gather(world, publishers, online, offline, options.drainWaitMs ?? drainDefaultMs)
  await Promise.all([online.stop(), offline.stop()])
  const endpoint = await endpointCounts(world)
  const functions = await functionProblems(world)
  const got = [online, offline].map(each => each.received)
  return {
    seed: random.seed,
    kills,
    sent: publishers.reduce((sum, each) => sum + each.sent, 0),
    admitted: publishers.reduce((sum, each) => sum + each.admitted.size, 0),
    cloudRecords: evidence.cloud.length,
    deadLetters: evidence.deadLetters.length,
    linkCuts: proxy?.broken ?? 0,
    subscriberDuplicates: got.reduce(
      (sum, all) => sum + all.length - new Set(all.map(each => `${each.topic}${each.payload}`)).size,
      0,
    ),
    endpoint,
    violations: [
      ...functions,
      ...judge(evidence),
      ...(endpoint.gaps + endpoint.lost > 0 ? [`endpoint: ${JSON.stringify(endpoint)}`] : []),
    ],
  }
}

/**
 * Breaks connections until `cuts * progress` were broken: those that stand now, or the next one at a byte of a
 * request or an answer. The bytes make mid-batch and mid-acknowledgement.
 */
function cutLink(proxy: LinkProxy, random: Random, cuts: number, progress: number): void {
  const due = () => proxy.broken < cuts * progress
  const how = () => random.pick(['fin', 'rst'] as const)
  if (due() && random.next() < 0.5) proxy.breakAll(how())
  proxy.plan = () => {
    if (!due()) return undefined
    if (random.next() < 0.5) return { requestBytes: random.int(1, 20_000), how: how() }
    return { responseBytes: random.int(1, 400), how: how() }
  }
}

const pause = (delayMs: number) => new Promise(resolve => setTimeout(resolve, delayMs))

async function visit(subscriber: Subscriber): Promise<void> {
  await subscriber.start()
  await pause(200)
  await subscriber.pause()
}

/** Kills and starts again; sometimes kills once more while it starts. Whether there was something to kill. */
async function killTarget(world: World, target: Target, random: Random): Promise<boolean> {
  if (target === 'executor') {
    const [pid] = world.executors()
    if (pid === undefined) return false
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      return false
    }
    return true
  }
  if (target === 'endpoint') {
    await world.endpoint?.kill()
    await world.startEndpoint()
    return true
  }
  await world.daemon?.kill()
  if (random.next() < 0.1) {
    const starting = world.startDaemon().catch(() => {})
    await pause(random.int(50, 500))
    await starting
    await world.daemon?.kill()
  }
  await world.startDaemon()
  return true
}

/** Waits until nothing is queued anywhere, then takes what the cloud and the dead letters hold. */
async function gather(
  world: World,
  publishers: readonly Publisher[],
  online: Subscriber,
  offline: Subscriber,
  drainWaitMs: number,
): Promise<Evidence> {
  await offline.start()
  const deadline = Date.now() + drainWaitMs
  let quiet = 0
  for (let last = -1; quiet < 4 && Date.now() < deadline; ) {
    const queued = await queuedRecords(world)
    const seen = online.received.length + offline.received.length
    quiet = queued === 0 && seen === last ? quiet + 1 : 0
    last = seen
    await pause(100)
  }
  return {
    publishers,
    cloud: await cloudRecords(world),
    deadLetters: await takeDeadLetters(world),
    subscribers: [
      { subscriber: online, prefix: 'out/' },
      { subscriber: offline, prefix: 'out/count/' },
    ],
  }
}

interface Buffers {
  readonly logs: readonly { readonly log: string; readonly records: number }[]
}

/** Records waiting in inboxes, outboxes and sessions. */
async function queuedRecords(world: World): Promise<number> {
  const { logs } = await world.api<Buffers>('/api/v1/buffer')
  return logs
    .filter(({ log }) => /^(inbox|outbox|session)\./.test(log))
    .reduce((sum, { records }) => sum + records, 0)
}

/** What the endpoint itself counted: each record once, and no gap that the loss ledger does not explain. */
interface EndpointCounts {
  readonly records: number
  readonly duplicates: number
  readonly gaps: number
  readonly lost: number
}

async function endpointCounts(world: World): Promise<EndpointCounts> {
  const { records, duplicates, gaps, lost } = await world.cloud<EndpointCounts>(`/v1/devices/${device}`)
  return { records, duplicates, gaps, lost }
}

interface StoredEvent {
  readonly index: number
  readonly type: string
  readonly subject: string
  readonly data: CloudRecord['data']
}

export async function cloudRecords(world: World): Promise<CloudRecord[]> {
  const records: CloudRecord[] = []
  const limit = 1000
  for (let after = -1; ; ) {
    const page = await world.cloud<StoredEvent[]>(
      `/v1/devices/${device}/records?after=${after}&limit=${limit}`,
    )
    for (const event of page) {
      if (event.type === 'fescue.message.v1') records.push({ topic: event.subject, data: event.data })
      after = event.index
    }
    if (page.length === 0) return records
  }
}

interface FunctionRow {
  readonly name: string
  readonly state: string
  readonly reason?: string
  readonly inbox: { readonly records: number }
}

/** Functions that stand still, or have not done their work: a violation in itself, and it explains others. */
async function functionProblems(world: World): Promise<string[]> {
  const rows = await world.api<FunctionRow[]>('/api/v1/functions')
  return rows
    .filter(row => ['disabled', 'detached', 'failed'].includes(row.state) || row.inbox.records > 0)
    .map(
      row =>
        `function ${row.name}: ${row.state} (${row.reason ?? 'no reason'}), ${row.inbox.records} waiting`,
    )
}

interface DeadLetterRowOfApi {
  readonly function: string
  readonly offset: number
  readonly payload: string
}

/** Takes all dead letters, a page at a time; what was taken is dropped. */
async function takeDeadLetters(world: World): Promise<DeadLetterRow[]> {
  const taken: DeadLetterRow[] = []
  for (const name of ['count', 'total']) {
    for (;;) {
      const page = await world.api<DeadLetterRowOfApi[]>(`/api/v1/dead-letters?function=${name}&limit=500`)
      if (page.length === 0) break
      for (const { payload } of page) {
        const input = JSON.parse(payload) as { p: string; n: number }
        taken.push({ function: name, p: input.p, n: input.n })
      }
      const body = JSON.stringify({ function: name, offsets: page.map(({ offset }) => offset) })
      await world.api('/api/v1/dead-letters/drop', { method: 'POST', body })
    }
  }
  return taken
}
