/**
 * A publisher with a window and a persistent session: what it sent, what was acknowledged, and after each
 * break the same packets again in the same order, as MQTT 3.1.1 section 4.4 demands.
 */
import type { Packet } from 'mqtt-packet'
import { MqttPeer } from './mqtt-peer.ts'

interface InFlight {
  readonly n: number
  readonly packetId: number
  state: 'published' | 'released'
}

export interface PublisherOptions {
  readonly name: string
  readonly port: () => number
  readonly qos: 1 | 2
  readonly topics: number
  readonly window: number
  /** Messages per second over all, paced in 10 ms steps. */
  readonly ratePerSecond: number
}

export class Publisher {
  readonly name: string
  readonly topics: number
  /** Numbers whose PUBACK or PUBREC arrived: admitted by the promise. */
  readonly admitted = new Set<number>()
  /** Times that a persistent session was not found again: a violation. */
  sessionsLost = 0
  /** Numbers below were judged in an earlier round. */
  settled = 0
  readonly #options: PublisherOptions
  readonly #peer: MqttPeer
  readonly #inFlight = new Map<number, InFlight>()
  #timer: NodeJS.Timeout | undefined
  #sent = 0
  #due = 0
  #packetId = 0
  #idle: (() => void) | undefined

  constructor(options: PublisherOptions) {
    this.#options = options
    this.name = options.name
    this.topics = options.topics
    this.#peer = new MqttPeer({
      clientId: options.name,
      clean: false,
      port: options.port,
      onConnected: present => this.#resume(present),
      onPacket: packet => this.#acknowledge(packet),
    })
  }

  /** Messages sent so far: numbers 0 to sent - 1. */
  get sent(): number {
    return this.#sent
  }

  topicOf(n: number): string {
    return `in/${this.name}/${n % this.#options.topics}`
  }

  start(): void {
    this.#peer.start()
    const stepMs = 10
    this.#timer = setInterval(() => {
      this.#due = Math.min(this.#due + (this.#options.ratePerSecond * stepMs) / 1000, this.#options.window)
      this.#pump()
    }, stepMs)
  }

  /** Sends nothing new, resolves once all that was sent is acknowledged, and leaves; `start` goes on from there. */
  async finish(): Promise<void> {
    clearInterval(this.#timer)
    if (this.#inFlight.size > 0) await new Promise<void>(resolve => (this.#idle = resolve))
    this.#idle = undefined
    await this.#peer.pause()
  }

  /** What was sent so far has been judged: it is forgotten. */
  settle(): void {
    this.settled = this.#sent
    this.admitted.clear()
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.#peer.stop()
  }

  #pump(): void {
    while (this.#peer.up && this.#due >= 1 && this.#inFlight.size < this.#options.window) {
      this.#due -= 1
      do this.#packetId = (this.#packetId % 65_535) + 1
      while (this.#inFlight.has(this.#packetId))
      const flight: InFlight = { n: this.#sent++, packetId: this.#packetId, state: 'published' }
      this.#inFlight.set(flight.packetId, flight)
      this.#publish(flight, false)
    }
  }

  #publish({ n, packetId }: InFlight, dup: boolean): void {
    const payload = JSON.stringify({ p: this.name, n, pad: 'x'.repeat(64) })
    this.#peer.send({
      cmd: 'publish',
      topic: this.topicOf(n),
      payload,
      qos: this.#options.qos,
      dup,
      retain: false,
      messageId: packetId,
    })
  }

  #resume(present: boolean): void {
    if (!present && this.#peer.connections > 1) this.sessionsLost += 1
    for (const flight of this.#inFlight.values()) {
      if (flight.state === 'published') this.#publish(flight, true)
      else this.#peer.send({ cmd: 'pubrel', messageId: flight.packetId })
    }
  }

  #acknowledge(packet: Packet): void {
    const flight = this.#inFlight.get(packet.messageId ?? 0)
    if (flight === undefined) {
      if (packet.cmd === 'pubrec') this.#peer.send({ cmd: 'pubrel', messageId: packet.messageId! })
      return
    }
    if (packet.cmd === 'pubrec') {
      this.admitted.add(flight.n)
      flight.state = 'released'
      this.#peer.send({ cmd: 'pubrel', messageId: flight.packetId })
      return
    }
    if (packet.cmd !== 'puback' && packet.cmd !== 'pubcomp') return
    this.admitted.add(flight.n)
    this.#inFlight.delete(flight.packetId)
    if (this.#inFlight.size === 0) this.#idle?.()
  }
}
