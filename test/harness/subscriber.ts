/** A persistent subscriber that acknowledges what it gets and remembers it all, over any number of connections. */
import { EventEmitter, once } from 'node:events'
import type { Packet } from 'mqtt-packet'
import { MqttPeer } from './mqtt-peer.ts'

export interface Received {
  readonly topic: string
  readonly payload: string
  readonly dup: boolean
}

export class Subscriber {
  readonly name: string
  readonly received: Received[] = []
  sessionsLost = 0
  readonly #peer: MqttPeer
  readonly #events = new EventEmitter()
  readonly #filter: string
  readonly #qos: 1 | 2
  /** QoS 2 packet ids received and not yet released: not to be counted twice. */
  readonly #unreleased = new Set<number>()

  constructor(name: string, port: () => number, filter: string, qos: 1 | 2 = 1) {
    this.name = name
    this.#filter = filter
    this.#qos = qos
    this.#peer = new MqttPeer({
      clientId: name,
      clean: false,
      port,
      onConnected: present => this.#connected(present),
      onPacket: packet => this.#receive(packet),
    })
  }

  /** Connects; resolves once subscribed (the first time) or connected. */
  async start(): Promise<void> {
    const ready = once(this.#events, 'ready')
    this.#peer.start()
    await ready
  }

  pause(): Promise<void> {
    return this.#peer.pause()
  }

  stop(): Promise<void> {
    return this.#peer.stop()
  }

  /** Resolves when `count` messages have been received, or rejects with what is there after `waitMs`. */
  async has(count: number, waitMs: number): Promise<void> {
    const signal = AbortSignal.timeout(waitMs)
    while (this.received.length < count) {
      await once(this.#events, 'message', { signal }).catch(() => {
        throw new Error(`${this.name} has ${this.received.length} of ${count} after ${waitMs} ms`)
      })
    }
  }

  #connected(present: boolean): void {
    if (this.#peer.connections === 1 || !present) {
      if (this.#peer.connections > 1) this.sessionsLost += 1
      this.#peer.send({
        cmd: 'subscribe',
        messageId: 1,
        subscriptions: [{ topic: this.#filter, qos: this.#qos }],
      })
      return
    }
    this.#events.emit('ready')
  }

  #receive(packet: Packet): void {
    if (packet.cmd === 'suback') this.#events.emit('ready')
    if (packet.cmd === 'pubrel') {
      this.#unreleased.delete(packet.messageId!)
      this.#peer.send({ cmd: 'pubcomp', messageId: packet.messageId! })
    }
    if (packet.cmd !== 'publish') return
    if (packet.qos === 1) this.#peer.send({ cmd: 'puback', messageId: packet.messageId! })
    if (packet.qos === 2) {
      this.#peer.send({ cmd: 'pubrec', messageId: packet.messageId! })
      if (this.#unreleased.has(packet.messageId!)) return
      this.#unreleased.add(packet.messageId!)
    }
    this.received.push({ topic: packet.topic, payload: packet.payload.toString(), dup: packet.dup })
    this.#events.emit('message')
  }
}
