/**
 * One fault run: publishers, functions, subscribers and the cloud at work while daemon, executor and endpoint
 * are killed (SIGKILL) at random instants; afterwards everything drains and the judge speaks.
 *
 *   load ──► kill one of three ──► start it again ──► … ──► finish ──► drain ──► evidence ──► judge
 */

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
  /** After so many kills the offline subscriber comes, takes its queue, and goes again (0: only at the end). */
  readonly offlineVisitEvery?: number
  /** Ends the run early, for canaries: called after each kill with the evidence that needs no drain. */
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
  readonly subscriberDuplicates: number
  readonly endpoint: unknown
  readonly violations: readonly string[]
}

type Target = 'daemon' | 'executor' | 'endpoint'
const targets: readonly Target[] = ['daemon', 'daemon', 'daemon', 'executor', 'executor', 'endpoint']
/** How long a drained state may take to come: timeouts and retries of the looping records included. */
const drainWaitMs = 60_000

export async function killRun(options: KillRunOptions): Promise<KillRunReport> {
  await using world = await World.create(options)
  const { random, say = () => {} } = options
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
    await pause(random.int(50, 900))
    const target = random.pick(targets)
    if (await killTarget(world, target, random)) kills[target] += 1
    else kill -= 1
    if (options.offlineVisitEvery && kill % options.offlineVisitEvery === 0) await visit(offline)
    await options.afterKill?.(kill, world)
    if (kill % 50 === 0)
      say(`${kill} kills, ${publishers.reduce((sum, each) => sum + each.admitted.size, 0)} admitted`)
  }
  await Promise.all(publishers.map(publisher => publisher.finish()))
  const evidence = await gather(world, publishers, online, offline)
  await Promise.all([online.stop(), offline.stop()])
  const got = [online, offline].map(each => each.received)
  return {
    seed: random.seed,
    kills,
    sent: publishers.reduce((sum, each) => sum + each.sent, 0),
    admitted: publishers.reduce((sum, each) => sum + each.admitted.size, 0),
    cloudRecords: evidence.cloud.length,
    deadLetters: evidence.deadLetters.length,
    subscriberDuplicates: got.reduce(
      (sum, all) => sum + all.length - new Set(all.map(each => `${each.topic}${each.payload}`)).size,
      0,
    ),
    endpoint: await world.cloud(`/v1/devices/${device}`),
    violations: judge(evidence),
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
    deadLetters: await deadLetters(world),
    subscribers: [
      { subscriber: online, prefix: 'out/' },
      { subscriber: offline, prefix: 'out/count/' },
    ],
  }
}

interface Buffers {
  readonly logs: readonly { readonly name: string; readonly records: number }[]
}

/** Records waiting in inboxes, outboxes and sessions. */
async function queuedRecords(world: World): Promise<number> {
  const { logs } = await world.api<Buffers>('/api/v1/buffer')
  return logs
    .filter(({ name }) => /^(inbox|outbox|session)\./.test(name))
    .reduce((sum, log) => sum + log.records, 0)
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

interface DeadLetterPage {
  readonly deadLetters: readonly {
    readonly function: string
    readonly offset: number
    readonly payload: unknown
  }[]
}

async function deadLetters(world: World): Promise<DeadLetterRow[]> {
  const { deadLetters: rows } = await world.api<DeadLetterPage>('/api/v1/dead-letters?limit=1000000')
  return rows.map(row => {
    const input = (typeof row.payload === 'string' ? JSON.parse(row.payload) : row.payload) as {
      p: string
      n: number
    }
    return { function: row.function, p: input.p, n: input.n }
  })
}
