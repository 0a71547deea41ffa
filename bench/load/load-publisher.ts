/** One connection that publishes from a template, as fast as its window allows or at a pace. */
import type { Socket } from 'node:net'
import type { LoadOptions } from './load.ts'
import { publishTemplate, type Template, writeNumber } from './message.ts'
import type { Traffic } from './traffic.ts'
import { connectMqtt, packetType, splitPackets } from './wire.ts'

/** Messages written in one turn at most. */
const burstMax = 256
/** The step of the generator's own timer; lateness beyond it is the broker's. */
const lateMs = 2

export class LoadPublisher {
  readonly socket: Socket
  readonly #options: LoadOptions
  readonly #index: number
  readonly #traffic: Traffic
  readonly #template: Template
  readonly #busy = new Uint8Array(65_536)
  #sent = 0
  #acknowledged = 0
  #packetId = 0
  #startedAt: number | undefined
  #blocked = false

  static async connect(options: LoadOptions, index: number, traffic: Traffic): Promise<LoadPublisher> {
    const socket = await connectMqtt({ port: options.port, clientId: `load-publisher-${index}`, clean: true })
    return new LoadPublisher(options, index, traffic, socket)
  }

  private constructor(options: LoadOptions, index: number, traffic: Traffic, socket: Socket) {
    this.socket = socket
    this.#options = options
    this.#index = index
    this.#traffic = traffic
    this.#template = publishTemplate(options.topic(index), options.qos, options.payloadBytes)
    const split = splitPackets((first, chunk, start) => this.#acknowledge(first, chunk, start))
    socket.on('data', split)
    socket.on('drain', () => {
      this.#blocked = false
    })
  }

  begin(): void {
    this.#startedAt = performance.now()
  }

  end(): void {
    this.#startedAt = undefined
  }

  /** Sends what may go now. */
  pump(): void {
    if (this.#startedAt === undefined || this.#blocked) return
    const count = Math.min(this.#allowed(this.#startedAt), burstMax)
    if (count <= 0) return
    const { bytes, idAt, numberAt } = this.#template
    const burst = Buffer.allocUnsafe(bytes.length * count)
    const now = performance.now()
    for (let at = 0; at < burst.length; at += bytes.length) {
      bytes.copy(burst, at)
      if (idAt !== undefined) burst.writeUInt16BE(this.#takeId(), at + idAt)
      const number = this.#traffic.send(this.#index, this.#dueAt(this.#startedAt, now))
      writeNumber(burst, at + numberAt, number)
      this.#sent += 1
    }
    if (!this.socket.write(burst)) this.#blocked = true
  }

  #acknowledge(first: number, chunk: Buffer, start: number): void {
    const id = chunk.readUInt16BE(start)
    if ((first & 0xf0) !== packetType.puback || this.#busy[id] === 0) return
    this.#busy[id] = 0
    this.#acknowledged += 1
    this.#traffic.acknowledged += 1
  }

  #takeId(): number {
    do this.#packetId = (this.#packetId % 65_535) + 1
    while (this.#busy[this.#packetId] === 1)
    this.#busy[this.#packetId] = 1
    return this.#packetId
  }

  /** When the next message was due if the load is paced and late by more than its own step, else now. */
  #dueAt(startedAt: number, now: number): number {
    const { ratePerSecond, publishers } = this.#options
    if (ratePerSecond === undefined) return now
    // The first is due one interval after the start, as `#allowed` has it.
    const due = startedAt + ((this.#sent + 1) * 1000 * publishers) / ratePerSecond
    return now - due > lateMs ? due : now
  }

  #allowed(startedAt: number): number {
    const { window, ratePerSecond, publishers, inFlightMax, qos } = this.#options
    const unacknowledged = qos === 0 ? 0 : this.#sent - this.#acknowledged
    if (ratePerSecond !== undefined) {
      const due = ((performance.now() - startedAt) / 1000) * (ratePerSecond / publishers) - this.#sent
      return Math.floor(Math.min(due, 60_000 - unacknowledged))
    }
    const room = Math.floor(
      Math.min(window - unacknowledged, inFlightMax / publishers - this.#traffic.underWay(this.#index)),
    )
    // A client with a pipeline tops it up in batches, not by single messages.
    return room < window / 4 && unacknowledged > window / 2 ? 0 : room
  }
}
