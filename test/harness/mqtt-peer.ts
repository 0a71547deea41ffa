/**
 * A raw MQTT 3.1.1 peer for fault runs: it keeps its own session over any number of connections, so that it
 * knows to the message what was sent, acknowledged and received. It reconnects at once and for ever.
 */
import { once } from 'node:events'
import net from 'node:net'
import mqtt, { type Packet } from 'mqtt-packet'

export interface PeerOptions {
  readonly clientId: string
  readonly clean: boolean
  /** Where the broker is now; asked at each connection, for it moves when it restarts. */
  readonly port: () => number
  onPacket(packet: Packet): void
  /** Called after each CONNACK, before anything else is received. */
  onConnected(sessionPresent: boolean): void
}

type State =
  | { readonly kind: 'down' }
  | { readonly kind: 'connecting'; readonly socket: net.Socket }
  | { readonly kind: 'up'; readonly socket: net.Socket }
  | { readonly kind: 'stopped' }

const redialMs = 20

export class MqttPeer {
  readonly #options: PeerOptions
  #state: State = { kind: 'down' }
  connections = 0

  constructor(options: PeerOptions) {
    this.#options = options
  }

  get up(): boolean {
    return this.#state.kind === 'up'
  }

  start(): void {
    if (this.#state.kind === 'stopped') return
    const { clientId, clean, port } = this.#options
    const socket = net.connect({ host: '127.0.0.1', port: port(), noDelay: true })
    this.#state = { kind: 'connecting', socket }
    const parser = mqtt.parser({ protocolVersion: 4 })
    parser.on('packet', packet => this.#receive(socket, packet))
    socket.on('connect', () => {
      if (this.#state.kind !== 'connecting' || this.#state.socket !== socket) return
      socket.write(
        mqtt.generate({
          cmd: 'connect',
          protocolId: 'MQTT',
          protocolVersion: 4,
          clean,
          clientId,
          keepalive: 0,
        }),
      )
    })
    socket.on('data', chunk => parser.parse(chunk))
    socket.on('error', () => {})
    socket.on('close', () => {
      if (this.#state.kind === 'stopped' || this.#state.kind === 'down' || this.#state.socket !== socket)
        return
      this.#state = { kind: 'down' }
      setTimeout(() => this.start(), redialMs)
    })
  }

  send(packet: Packet): void {
    if (this.#state.kind === 'up') this.#state.socket.write(mqtt.generate(packet))
  }

  /** Ends the connection (politely when `polite`) and stays down until `start`. */
  async pause(polite = true): Promise<void> {
    const state = this.#state
    this.#state = { kind: 'down' }
    if (state.kind !== 'up' && state.kind !== 'connecting') return
    if (polite) state.socket.end(mqtt.generate({ cmd: 'disconnect' }))
    else state.socket.destroy()
    if (!state.socket.closed) await once(state.socket, 'close')
  }

  async stop(): Promise<void> {
    await this.pause()
    this.#state = { kind: 'stopped' }
  }

  #receive(socket: net.Socket, packet: Packet): void {
    if (packet.cmd === 'connack') {
      if (packet.returnCode !== 0) throw new Error(`CONNACK ${packet.returnCode}`)
      this.#state = { kind: 'up', socket }
      this.connections += 1
      this.#options.onConnected(packet.sessionPresent)
      return
    }
    this.#options.onPacket(packet)
  }
}
