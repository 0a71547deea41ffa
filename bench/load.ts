/**
 * The load generator: raw MQTT 3.1.1 over sockets, packets encoded before, a window of unacknowledged
 * messages per publisher, one subscriber that acknowledges. It costs little, because it shares the machine
 * with what it measures.
 *
 *   publisher ──PUBLISH QoS 1, {"t":<ms>,…}──► broker (──► function ──►) broker ──► subscriber
 *        ◄──PUBACK──                                                        latency = now - t
 *
 * Closed loop (window) gives the rate; open loop (`ratePerSecond`) gives latency without omission, because
 * `t` is the time at which the message was due.
 */
import { once } from 'node:events'
import net from 'node:net'
import mqtt from 'mqtt-packet'

export interface LoadOptions {
  readonly port: number
  readonly publishers: number
  /** Unacknowledged messages per publisher. */
  readonly window: number
  readonly payloadBytes: number
  /** Topic of a publisher; each has one. */
  readonly topic: (publisher: number) => string
  readonly subscribe: string
  readonly warmSeconds: number
  readonly seconds: number
  /** Open loop: messages per second over all publishers. */
  readonly ratePerSecond?: number
  /** Also bounds messages on their way to the subscriber, so that queues stay short. */
  readonly inFlightMax: number
}

export interface LoadResult {
  readonly deliveredPerSecond: number
  readonly acknowledgedPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  /** Acknowledged and not delivered two seconds after the end. */
  readonly missing: number
  /** Share of one core that the generator used. */
  readonly generatorCpu: number
}

/** Digits reserved for the time in each payload: milliseconds with four decimals. */
const timeDigits = 16
/** The step of the generator's own timer; lateness beyond it is the broker's. */
const lateMs = 2
/** Messages written in one turn at most. */
const burstMax = 256

export async function runLoad(options: LoadOptions): Promise<LoadResult> {
  const subscriber = await LoadSubscriber.connect(options)
  const publishers = await Promise.all(
    Array.from({ length: options.publishers }, (_, i) => LoadPublisher.connect(options, i, subscriber)),
  )
  const pump = () => {
    for (const publisher of publishers) publisher.pump()
  }
  subscriber.onDelivered = pump
  const ticker = setInterval(pump, 1)
  for (const publisher of publishers) publisher.begin()
  await delay(options.warmSeconds * 1000)
  subscriber.latencies.length = 0
  const cpu = process.cpuUsage()
  const before = {
    delivered: subscriber.delivered,
    acknowledged: sum(publishers, 'acknowledged'),
    at: performance.now(),
  }
  await delay(options.seconds * 1000)
  const seconds = (performance.now() - before.at) / 1000
  const used = process.cpuUsage(cpu)
  const result = {
    deliveredPerSecond: Math.round((subscriber.delivered - before.delivered) / seconds),
    acknowledgedPerSecond: Math.round((sum(publishers, 'acknowledged') - before.acknowledged) / seconds),
    ...percentiles(subscriber.latencies),
    generatorCpu: round((used.user + used.system) / 1e6 / seconds),
  }
  clearInterval(ticker)
  for (const publisher of publishers) publisher.end()
  const sent = sum(publishers, 'sent')
  for (let waitedMs = 0; subscriber.delivered < sent && waitedMs < 2_000; waitedMs += 20) await delay(20)
  const missing = sent - subscriber.delivered
  for (const each of [...publishers, subscriber]) each.socket.destroy()
  return { ...result, missing }
}

const delay = (delayMs: number) => new Promise(resolve => setTimeout(resolve, delayMs))
const round = (value: number) => Math.round(value * 100) / 100

function sum(publishers: readonly LoadPublisher[], key: 'sent' | 'acknowledged'): number {
  return publishers.reduce((total, publisher) => total + publisher[key], 0)
}

function percentiles(latencies: number[]): { p50Ms: number; p99Ms: number; maxMs: number } {
  const sorted = Float64Array.from(latencies).sort()
  const at = (share: number) =>
    round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0)
  return { p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) }
}

/** Splits a byte stream into MQTT packets: first byte, start and end of the body. */
function packets(
  handle: (first: number, chunk: Buffer, start: number, end: number) => void,
): (chunk: Buffer) => void {
  let rest: Buffer | undefined
  return received => {
    const chunk = rest === undefined ? received : Buffer.concat([rest, received])
    rest = undefined
    let at = 0
    while (at + 1 < chunk.length) {
      let length = 0
      let shift = 0
      let body = at + 1
      let more = true
      while (more && body < chunk.length) {
        const byte = chunk[body++]!
        length += (byte & 127) << shift
        shift += 7
        more = (byte & 128) !== 0
      }
      if (more || body + length > chunk.length) break
      handle(chunk[at]!, chunk, body, body + length)
      at = body + length
    }
    if (at < chunk.length) rest = chunk.subarray(at)
  }
}

async function connect(port: number, clientId: string): Promise<net.Socket> {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  socket.write(
    mqtt.generate({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clean: true,
      clientId,
      keepalive: 0,
    }),
  )
  const [connack] = (await once(socket, 'data')) as [Buffer]
  if (connack[0] !== 0x20 || connack[3] !== 0) throw new Error(`no CONNACK: ${connack.toString('hex')}`)
  return socket
}

class LoadSubscriber {
  readonly socket: net.Socket
  readonly latencies: number[] = []
  delivered = 0
  onDelivered: () => void = () => {}
  #acks: number[] = []

  constructor(socket: net.Socket) {
    this.socket = socket
    const split = packets((first, chunk, start, end) => this.#receive(first, chunk, start, end))
    socket.on('data', chunk => {
      split(chunk)
      if (this.#acks.length > 0) socket.write(Buffer.from(this.#acks))
      this.#acks = []
      this.onDelivered()
    })
  }

  static async connect(options: LoadOptions): Promise<LoadSubscriber> {
    const socket = await connect(options.port, 'load-subscriber')
    socket.write(
      mqtt.generate({
        cmd: 'subscribe',
        messageId: 1,
        subscriptions: [{ topic: options.subscribe, qos: 1 }],
      }),
    )
    await once(socket, 'data')
    return new LoadSubscriber(socket)
  }

  #receive(first: number, chunk: Buffer, start: number, end: number): void {
    if (first >> 4 !== 3) return
    let at = start + 2 + chunk.readUInt16BE(start)
    if ((first & 6) !== 0) {
      this.#acks.push(0x40, 2, chunk[at]!, chunk[at + 1]!)
      at += 2
    }
    this.delivered += 1
    // {"t":1234.5678, …
    const text = chunk.toString('latin1', at + 5, Math.min(end, at + 5 + timeDigits))
    this.latencies.push(performance.now() - Number.parseFloat(text))
  }
}

class LoadPublisher {
  readonly socket: net.Socket
  readonly #options: LoadOptions
  readonly #subscriber: LoadSubscriber
  readonly #template: Buffer
  readonly #timeAt: number
  readonly #idAt: number
  readonly #busy = new Uint8Array(65_536)
  sent = 0
  acknowledged = 0
  #packetId = 0
  #startedAt: number | undefined
  #blocked = false

  constructor(options: LoadOptions, index: number, socket: net.Socket, subscriber: LoadSubscriber) {
    this.socket = socket
    this.#options = options
    this.#subscriber = subscriber
    const head = `{"t":${'0'.repeat(timeDigits)},"celsius":21.5,"pad":"`
    const payload = `${head}${'x'.repeat(Math.max(0, options.payloadBytes - head.length - 2))}"}`
    this.#template = mqtt.generate({
      cmd: 'publish',
      topic: options.topic(index),
      payload,
      qos: 1,
      messageId: 1,
      dup: false,
      retain: false,
    })
    this.#timeAt = this.#template.length - payload.length + 5
    this.#idAt = this.#template.length - payload.length - 2
    const split = packets((first, chunk, start) => {
      const id = chunk.readUInt16BE(start)
      if (first >> 4 !== 4 || this.#busy[id] === 0) return
      this.#busy[id] = 0
      this.acknowledged += 1
    })
    socket.on('data', chunk => {
      split(chunk)
      this.pump()
    })
    socket.on('drain', () => {
      this.#blocked = false
      this.pump()
    })
  }

  static async connect(
    options: LoadOptions,
    index: number,
    subscriber: LoadSubscriber,
  ): Promise<LoadPublisher> {
    return new LoadPublisher(
      options,
      index,
      await connect(options.port, `load-publisher-${index}`),
      subscriber,
    )
  }

  begin(): void {
    this.#startedAt = performance.now()
    this.pump()
  }

  end(): void {
    this.#startedAt = undefined
  }

  pump(): void {
    if (this.#startedAt === undefined || this.#blocked) return
    const count = Math.min(this.#allowed(), burstMax)
    if (count <= 0) return
    const size = this.#template.length
    const burst = Buffer.allocUnsafe(size * count)
    for (let i = 0; i < count; i++) {
      this.#template.copy(burst, i * size)
      do this.#packetId = (this.#packetId % 65_535) + 1
      while (this.#busy[this.#packetId] === 1)
      this.#busy[this.#packetId] = 1
      burst.writeUInt16BE(this.#packetId, i * size + this.#idAt)
      const at = this.#stamp(this.sent + i)
      burst.write(at.toFixed(4).padStart(timeDigits, ' '), i * size + this.#timeAt, 'latin1')
    }
    this.sent += count
    if (!this.socket.write(burst)) this.#blocked = true
  }

  /** The time that message `n` carries: now, or when it was due if the generator is late by more than its step. */
  #stamp(n: number): number {
    const now = performance.now()
    const { ratePerSecond, publishers } = this.#options
    if (!ratePerSecond) return now
    const due = (this.#startedAt ?? now) + (n * 1000 * publishers) / ratePerSecond
    return now - due > lateMs ? due : now
  }

  /** Messages that may go now, by window and pace. */
  #allowed(): number {
    const { window, ratePerSecond, publishers, inFlightMax } = this.#options
    const inFlight = this.sent - this.acknowledged
    const undelivered = this.sent - this.#subscriber.delivered / publishers
    const room = Math.min(window - inFlight, inFlightMax / publishers - undelivered)
    if (!ratePerSecond) return room < window / 4 && inFlight > window / 2 ? 0 : Math.floor(room)
    const due =
      ((performance.now() - (this.#startedAt ?? 0)) / 1000) * (ratePerSecond / publishers) - this.sent
    return Math.floor(Math.min(due, 60_000 - inFlight))
  }
}
