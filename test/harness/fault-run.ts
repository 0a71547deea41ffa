/**
 * A device under load and faults, round after round, on one data folder. A round is load with faults in it, then
 * everything drains, and the judge speaks over that round alone: so a run of days needs no memory of days.
 *
 *   round: publishers on ──► faults ──► publishers finish ──► drain ──► evidence ──► judge ──► settled
 *              ▲ numbers, sessions and state counters go on in the next round ──────────────────┘
 */
import { type Proxy as LinkProxy, startProxy } from '../fakes/proxy.ts'
import { type EndpointCounts, endpointCounts, functionProblems, gather } from './evidence.ts'
import { killOne, type Target } from './kill.ts'
import { Publisher } from './publisher.ts'
import type { Random } from './random.ts'
import { Subscriber } from './subscriber.ts'
import { highest, judge } from './verdict.ts'
import { topicsPerPublisher, World, type WorldOptions } from './world.ts'

export interface FaultRunOptions extends WorldOptions {
  readonly random: Random
  /** Messages per second of all publishers together. */
  readonly ratePerSecond: number
  /** How long everything may take to drain (60 s). */
  readonly drainWaitMs?: number
}

export interface RoundReport {
  readonly sent: number
  readonly admitted: number
  readonly cloudRecords: number
  readonly deadLetters: number
  readonly subscriberDuplicates: number
  /** The endpoint's own counts since the run began. */
  readonly endpoint: EndpointCounts
  readonly violations: readonly string[]
}

/** How long a drained state may take to come: timeouts and retries of the looping records included. */
const drainDefaultMs = 60_000

const pause = (delayMs: number) => new Promise(resolve => setTimeout(resolve, delayMs))

export class FaultRun implements AsyncDisposable {
  readonly world: World
  readonly link: LinkProxy
  readonly kills: Record<Target, number> = { daemon: 0, executor: 0, endpoint: 0 }
  readonly #options: FaultRunOptions
  readonly #publishers: readonly Publisher[]
  readonly #online: Subscriber
  readonly #offline: Subscriber
  #bases: ReadonlyMap<string, number> = new Map()
  #lastIndex = -1

  private constructor(options: FaultRunOptions, world: World, link: LinkProxy) {
    this.#options = options
    this.world = world
    this.link = link
    const port = () => world.mqttPort
    this.#online = new Subscriber('online', port, 'out/#')
    this.#offline = new Subscriber('offline', port, 'out/count/#', 2)
    this.#publishers = ([1, 2] as const).map(
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
  }

  /** Starts endpoint and daemon, with a link between them that can be cut, and both subscribers. */
  static async create(options: FaultRunOptions): Promise<FaultRun> {
    await using undo = new AsyncDisposableStack()
    let link: LinkProxy | undefined
    const uplinkPort = async (endpointPort: number) => {
      link = undo.use(await startProxy(endpointPort))
      return link.port
    }
    const world = undo.use(await World.create({ ...options, uplinkPort }))
    if (link === undefined) throw new Error('the world asked for no link')
    await world.startEndpoint()
    await world.startDaemon()
    const run = new FaultRun(options, world, link)
    await run.#online.start()
    await run.#offline.start()
    await run.#offline.pause()
    undo.move()
    return run
  }

  /** Messages admitted in this round so far. */
  get admitted(): number {
    return this.#publishers.reduce((sum, each) => sum + each.admitted.size, 0)
  }

  /** Load while `faults` runs; then drains and judges. */
  async round(faults: () => Promise<void>): Promise<RoundReport> {
    const { world } = this
    for (const publisher of this.#publishers) publisher.start()
    await faults()
    this.link.plan = () => undefined
    await Promise.all(this.#publishers.map(publisher => publisher.finish()))
    const { evidence, last } = await gather({
      world,
      publishers: this.#publishers,
      online: this.#online,
      offline: this.#offline,
      drainWaitMs: this.#options.drainWaitMs ?? drainDefaultMs,
      after: this.#lastIndex,
      bases: this.#bases,
    })
    const endpoint = await endpointCounts(world)
    const got = [this.#online, this.#offline].map(each => each.received)
    const report = {
      sent: this.#publishers.reduce((sum, each) => sum + each.sent - each.settled, 0),
      admitted: this.admitted,
      cloudRecords: evidence.cloud.length,
      deadLetters: evidence.deadLetters.length,
      subscriberDuplicates: got.reduce(
        (sum, all) => sum + all.length - new Set(all.map(each => `${each.topic}${each.payload}`)).size,
        0,
      ),
      endpoint,
      violations: [
        ...(await functionProblems(world)),
        ...judge(evidence),
        ...(endpoint.gaps + endpoint.lost > 0 ? [`endpoint: ${JSON.stringify(endpoint)}`] : []),
      ],
    }
    this.#bases = highest(evidence)
    this.#lastIndex = last
    for (const publisher of this.#publishers) publisher.settle()
    for (const all of got) all.length = 0
    await this.#offline.pause()
    return report
  }

  /** The offline subscriber comes, takes its queue, and goes again. */
  async visit(): Promise<void> {
    await this.#offline.start()
    await pause(200)
    await this.#offline.pause()
  }

  /** Kills and starts again; sometimes kills once more while it starts. Whether there was something to kill. */
  async kill(target: Target): Promise<boolean> {
    if (!(await killOne(this.world, target, this.#options.random))) return false
    this.kills[target] += 1
    return true
  }

  /**
   * Breaks connections to the cloud until `due` were broken since the start: those that stand now, or the next one at
   * a byte of a request or an answer. The bytes make mid-batch and mid-acknowledgement.
   */
  cutLink(due: number): void {
    const { link } = this
    const { random } = this.#options
    const isDue = () => link.broken < due
    const how = () => random.pick(['fin', 'rst'] as const)
    if (isDue() && random.next() < 0.5) link.breakAll(how())
    link.plan = () => {
      if (!isDue()) return undefined
      if (random.next() < 0.5) return { requestBytes: random.int(1, 20_000), how: how() }
      return { responseBytes: random.int(1, 400), how: how() }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#online.stop(), this.#offline.stop()])
    await Promise.all(this.#publishers.map(publisher => publisher.stop()))
    await this.world[Symbol.asyncDispose]()
    await this.link[Symbol.asyncDispose]()
  }
}
