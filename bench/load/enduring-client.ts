/** A raw MQTT connection with a persistent session that comes back at once and for ever, wherever the broker is. */
import net from 'node:net'
import mqtt from 'mqtt-packet'
import { type PacketHandler, packetType, splitPackets } from './wire.ts'

export interface EnduringOptions {
  readonly clientId: string
  /** Asked at each connection: a broker that restarts moves. */
  readonly port: () => number
  /** After each CONNACK. */
  onConnected(socket: net.Socket): void
  onPacket: PacketHandler
  /** After each chunk of packets. */
  onTurn(): void
}

const redialMs = 10

export class EnduringClient {
  readonly #options: EnduringOptions
  #socket: net.Socket | undefined
  #up = false
  #stopped = false

  constructor(options: EnduringOptions) {
    this.#options = options
    this.#dial()
  }

  /** The connection, while it stands. */
  get socket(): net.Socket | undefined {
    return this.#up ? this.#socket : undefined
  }

  stop(): void {
    this.#stopped = true
    this.#socket?.destroy()
  }

  #dial(): void {
    if (this.#stopped) return
    const { clientId, port, onConnected, onPacket, onTurn } = this.#options
    const socket = net.connect({ host: '127.0.0.1', port: port(), noDelay: true })
    this.#socket = socket
    const split = splitPackets((first, chunk, start, end) => {
      if (first !== packetType.connack) return onPacket(first, chunk, start, end)
      if (chunk[start + 1] !== 0) throw new Error(`${clientId}: CONNACK ${chunk[start + 1]}`)
      this.#up = true
      onConnected(socket)
    })
    socket.on('connect', () =>
      socket.write(
        mqtt.generate({
          cmd: 'connect',
          protocolId: 'MQTT',
          protocolVersion: 4,
          clean: false,
          clientId,
          keepalive: 0,
        }),
      ),
    )
    socket.on('data', chunk => {
      split(chunk)
      onTurn()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#up = false
      setTimeout(() => this.#dial(), redialMs)
    })
  }
}
