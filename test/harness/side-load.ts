/**
 * The rest of a device's day, beside the load that is judged: clients that come and go with and without a goodbye,
 * retained values, QoS 0, wills, a function on a schedule, and somebody who looks at status, metrics and buffer.
 */

import net from 'node:net'
import mqtt from 'mqtt-packet'
import type { Random } from './random.ts'
import type { World } from './world.ts'

/** Added to the functions of the world. */
export const sideFunctions = {
  latest: {
    manifest: 'triggers:\n  - topic: side/+\npermissions:\n  publish: [latest/#]\n',
    source: `
import { publish, state } from 'fescue'
export async function handler(event, context) {
  const name = context.topic.split('/')[1]
  const values = [...((await state.get(name)) ?? []), event.value].slice(-20)
  await state.set(name, values)
  publish('latest/' + name, { mean: values.reduce((sum, each) => sum + each, 0) / values.length }, { retain: true })
}
`,
  },
  tick: {
    manifest: 'triggers:\n  - schedule: "*/5 * * * * *"\npermissions:\n  publish: [ticks/#]\n',
    source: `import { publish } from 'fescue'\nexport const handler = async () => publish('ticks/five', { time: Date.now() })\n`,
  },
} as const

const visitEveryMs = 250
const lookEveryMs = 2_000
/** Clients that are there at once. */
const visitorsMax = 20
const stayMs = 1_500

const looks = [
  '/api/v1/status',
  '/api/v1/buffer',
  '/api/v1/functions',
  '/api/v1/dead-letters?limit=10',
  '/metrics',
]

export class SideLoad {
  readonly #world: World
  readonly #random: Random
  readonly #sockets = new Set<net.Socket>()
  #timers: NodeJS.Timeout[] = []
  #serial = 0
  /** Clients that came, messages they sent, answers of the API. */
  readonly counts = { clients: 0, messages: 0, answers: 0 }

  constructor(world: World, random: Random) {
    this.#world = world
    this.#random = random
  }

  start(): void {
    this.#timers = [
      setInterval(() => this.#visit(), visitEveryMs),
      setInterval(() => void this.#look(), lookEveryMs),
    ]
  }

  stop(): void {
    for (const timer of this.#timers) clearInterval(timer)
    for (const socket of this.#sockets) socket.destroy()
  }

  #visit(): void {
    if (this.#sockets.size >= visitorsMax) return
    const random = this.#random
    const name = `side-${this.#serial++}`
    const socket = net.connect({ host: '127.0.0.1', port: this.#world.mqttPort, noDelay: true })
    this.#sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => this.#sockets.delete(socket))
    socket.on('data', () => {})
    const will = { topic: 'side/wills', payload: Buffer.from('{"value":0}'), qos: 1 as const, retain: false }
    socket.write(
      mqtt.generate({
        cmd: 'connect',
        protocolId: 'MQTT',
        protocolVersion: 4,
        clean: true,
        clientId: name,
        keepalive: 30,
        ...(random.next() < 0.3 ? { will } : {}),
      }),
    )
    socket.write(
      mqtt.generate({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'latest/#', qos: 1 }] }),
    )
    this.counts.clients += 1
    for (let n = 0; n < 5; n++) this.#publish(socket, n)
    const leave = () => {
      if (random.next() < 0.5) socket.end(mqtt.generate({ cmd: 'disconnect' }))
      else socket.destroy()
    }
    setTimeout(leave, random.int(50, stayMs))
  }

  #publish(socket: net.Socket, n: number): void {
    const random = this.#random
    const qos = random.int(0, 2) as 0 | 1
    socket.write(
      mqtt.generate({
        cmd: 'publish',
        topic: `side/${random.int(0, 50)}`,
        payload: JSON.stringify({ value: random.int(0, 1000), pad: 'x'.repeat(random.int(0, 800)) }),
        qos,
        dup: false,
        retain: random.next() < 0.1,
        ...(qos === 0 ? {} : { messageId: n + 2 }),
      }),
    )
    this.counts.messages += 1
  }

  async #look(): Promise<void> {
    try {
      await this.#world.text(this.#random.pick(looks))
      this.counts.answers += 1
    } catch {
      // The daemon is just being killed.
    }
  }
}
