/**
 * The load generator: raw MQTT 3.1.1 over sockets, packets encoded before, a window of unacknowledged messages
 * per publisher, subscribers that acknowledge. It costs little, because it shares the machine with what it
 * measures; its own use of a core is part of the result, and near 1.0 it was the limit.
 *
 *   publisher ──PUBLISH {"n":…}──► broker (──► function ──►) broker ──► subscriber
 *        ◄──PUBACK──                                            latency = now - time of n
 *
 * Closed loop (window) gives the rate; open loop (`ratePerSecond`) gives latency without omission, because a
 * message that the generator could send only late counts from the instant at which it was due.
 */
import { LoadPublisher } from './load-publisher.ts'
import { LoadSubscriber } from './load-subscriber.ts'
import { Traffic } from './traffic.ts'

export interface LoadOptions {
  readonly port: number
  readonly qos: 0 | 1
  readonly publishers: number
  readonly subscribers: number
  /** Subscribers with persistent sessions. */
  readonly persistent: boolean
  /** Unacknowledged messages per publisher. */
  readonly window: number
  readonly payloadBytes: number
  /** Topic of a publisher; each has one. */
  readonly topic: (publisher: number) => string
  readonly filter: string
  readonly warmSeconds: number
  readonly seconds: number
  /** Open loop: messages per second of all publishers together. */
  readonly ratePerSecond?: number
  /** Messages on their way to the subscribers, so that queues stay short. */
  readonly inFlightMax: number
}

export interface LoadResult {
  /** Deliveries per second, over all subscribers. */
  readonly deliveredPerSecond: number
  readonly acknowledgedPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  readonly sent: number
  /** Sent and not delivered when nothing more came. */
  readonly missing: number
  /** Share of one core that the generator used. */
  readonly generatorCpu: number
}

/** How long the end waits for what is still under way. */
const drainMaxMs = 3_000
/** How long a wave may take. */
const waveMaxMs = 10_000

export async function runLoad(options: LoadOptions): Promise<LoadResult> {
  const traffic = new Traffic(options.publishers, options.subscribers)
  const subscribers = await connectAll(options.subscribers, i => LoadSubscriber.connect(options, i, traffic))
  const publishers = await connectAll(options.publishers, i => LoadPublisher.connect(options, i, traffic))
  const sockets = [...subscribers, ...publishers].map(({ socket }) => socket)
  const stop = pumpEachTurn(publishers, traffic, sockets)
  try {
    for (const publisher of publishers) publisher.begin()
    // A peer works off what is under way in waves; less than a wave says nothing about its rate.
    const wave = options.ratePerSecond === undefined ? options.inFlightMax : 1
    await untilDelivered(traffic, wave, options.warmSeconds)
    const result = await observe(traffic, wave, options.seconds)
    for (const publisher of publishers) publisher.end()
    await drained(traffic)
    for (const subscriber of subscribers) if (options.persistent) subscriber.leave()
    return { ...result, sent: traffic.sent, missing: traffic.missing }
  } finally {
    stop()
    for (const socket of sockets) socket.destroy()
  }
}

async function connectAll<T>(count: number, connect: (index: number) => Promise<T>): Promise<T[]> {
  const connected: T[] = []
  for (let i = 0; i < count; i++) connected.push(await connect(i))
  return connected
}

/** Pumps once after everything that a turn has received, and each millisecond. Returns how to end it. */
function pumpEachTurn(
  publishers: readonly LoadPublisher[],
  traffic: Traffic,
  sockets: readonly LoadPublisher['socket'][],
): () => void {
  let planned = false
  const pump = () => {
    planned = false
    traffic.look(performance.now())
    for (const publisher of publishers) publisher.pump()
  }
  for (const socket of sockets) {
    socket.on('data', () => {
      if (planned) return
      planned = true
      setImmediate(pump)
    })
  }
  const ticker = setInterval(pump, 1)
  return () => clearInterval(ticker)
}

async function observe(
  traffic: Traffic,
  wave: number,
  forSeconds: number,
): Promise<Omit<LoadResult, 'sent' | 'missing'>> {
  traffic.latencies.reset()
  const { delivered, acknowledged } = traffic
  const cpu = process.cpuUsage()
  const at = performance.now()
  await untilDelivered(traffic, wave, forSeconds)
  const seconds = (performance.now() - at) / 1000
  const { user, system } = process.cpuUsage(cpu)
  const { latencies } = traffic
  if (traffic.delivered === delivered) throw new Error(`nothing was delivered within ${waveMaxMs} ms`)
  return {
    deliveredPerSecond: Math.round((traffic.delivered - delivered) / seconds),
    acknowledgedPerSecond: Math.round((traffic.acknowledged - acknowledged) / seconds),
    p50Ms: round(latencies.at(0.5)),
    p99Ms: round(latencies.at(0.99)),
    maxMs: round(latencies.maxMs),
    generatorCpu: round((user + system) / 1e6 / seconds),
  }
}

/** For so many seconds, and until so many more have been delivered, but not for ever. */
async function untilDelivered(traffic: Traffic, count: number, forSeconds: number): Promise<void> {
  const { delivered } = traffic
  const at = performance.now()
  await delay(forSeconds * 1000)
  while (traffic.delivered - delivered < count && performance.now() - at < waveMaxMs) await delay(10)
}

/** Until all have everything, or nothing has come for a while. */
async function drained(traffic: Traffic): Promise<void> {
  const stepMs = 20
  let quietMs = 0
  for (let last = -1; traffic.missing > 0 && quietMs < drainMaxMs; ) {
    quietMs = traffic.delivered === last ? quietMs + stepMs : 0
    last = traffic.delivered
    await delay(stepMs)
  }
}

const delay = (delayMs: number) => new Promise(resolve => setTimeout(resolve, delayMs))
const round = (value: number) => Math.round(value * 100) / 100

/** Publishes at least `count` messages that nobody has to get; resolves with their number once all are acknowledged. */
export async function publishCount(
  to: Pick<LoadOptions, 'port' | 'qos' | 'publishers' | 'payloadBytes' | 'topic'>,
  count: number,
): Promise<number> {
  const traffic = new Traffic(to.publishers, 0)
  const options: LoadOptions = {
    ...to,
    subscribers: 0,
    persistent: false,
    filter: '',
    window: 1_000,
    inFlightMax: Number.MAX_SAFE_INTEGER,
    warmSeconds: 0,
    seconds: 0,
  }
  const publishers = await connectAll(to.publishers, i => LoadPublisher.connect(options, i, traffic))
  const sockets = publishers.map(({ socket }) => socket)
  const stop = pumpEachTurn(publishers, traffic, sockets)
  for (const publisher of publishers) publisher.begin()
  const until = async (holds: () => boolean) => {
    while (!holds()) {
      if (sockets.some(({ destroyed }) => destroyed)) throw new Error('the broker closed a publisher')
      await delay(1)
    }
  }
  await until(() => traffic.sent >= count)
  for (const publisher of publishers) publisher.end()
  await until(() => traffic.acknowledged === traffic.sent)
  stop()
  for (const socket of sockets) socket.destroy()
  return traffic.sent
}
