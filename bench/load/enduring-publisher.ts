/**
 * Publishes at full rate through crashes of the broker: after each it sends again, flagged DUP and in the same
 * order, what was not acknowledged (MQTT 3.1.1, 4.4). Its numbers are dense from 0, so that a hole is seen.
 */
import { EnduringClient } from './enduring-client.ts'
import { firstNumber, publishTemplate, type Template, writeNumber } from './message.ts'
import { packetType } from './wire.ts'

const dupFlag = 0b1000
const burstMax = 256

export interface EnduringPublisherOptions {
  readonly name: string
  readonly port: () => number
  readonly topic: string
  /** Unacknowledged messages at most. */
  readonly windowMax: number
  /** Messages without an outcome at most, so that queues stay short. */
  readonly underWayMax: number
  /** Messages that had their outcome. */
  readonly outcomes: () => number
}

export class EnduringPublisher {
  readonly #template: Template & { readonly idAt: number }
  readonly #client: EnduringClient
  readonly #options: EnduringPublisherOptions
  /** Packet id to number, in order of sending. */
  readonly #inFlight = new Map<number, number>()
  sent = 0
  acknowledged = 0
  #packetId = 0
  #sending = true
  #finished = Promise.withResolvers<void>()

  constructor(options: EnduringPublisherOptions) {
    const template = publishTemplate(options.topic, 1, 256)
    this.#template = { ...template, idAt: template.idAt ?? 0 }
    this.#options = options
    this.#client = new EnduringClient({
      clientId: options.name,
      port: options.port,
      onConnected: () => this.#resend(),
      onPacket: (first, chunk, start) => {
        if ((first & 0xf0) === packetType.puback) this.#acknowledge(chunk.readUInt16BE(start))
      },
      onTurn: () => this.pump(),
    })
  }

  /** Sends nothing new; resolves once all is acknowledged. */
  async finish(): Promise<void> {
    this.#sending = false
    if (this.#inFlight.size > 0) await this.#finished.promise
  }

  stop(): void {
    this.#client.stop()
  }

  #acknowledge(id: number): void {
    if (!this.#inFlight.delete(id)) return
    this.acknowledged += 1
    if (!this.#sending && this.#inFlight.size === 0) this.#finished.resolve()
  }

  #resend(): void {
    this.#write([...this.#inFlight], dupFlag)
    this.pump()
  }

  /** Sends what may go now; to be called when outcomes have arrived. */
  pump(): void {
    const { windowMax, underWayMax, outcomes } = this.#options
    const room = Math.min(windowMax - this.#inFlight.size, underWayMax - (this.sent - outcomes()), burstMax)
    if (!this.#sending || this.#client.socket === undefined || room < burstMax / 4) return
    const fresh: [number, number][] = []
    for (let i = 0; i < room; i++) {
      do this.#packetId = (this.#packetId % 65_535) + 1
      while (this.#inFlight.has(this.#packetId))
      const number = this.sent++
      this.#inFlight.set(this.#packetId, number)
      fresh.push([this.#packetId, number])
    }
    this.#write(fresh, 0)
  }

  #write(flights: readonly (readonly [id: number, number: number])[], flags: number): void {
    const { bytes, idAt, numberAt } = this.#template
    const burst = Buffer.allocUnsafe(bytes.length * flights.length)
    for (const [i, [id, number]] of flights.entries()) {
      const at = i * bytes.length
      bytes.copy(burst, at)
      burst[at]! |= flags
      burst.writeUInt16BE(id, at + idAt)
      writeNumber(burst, at + numberAt, firstNumber + number)
    }
    this.#client.socket?.write(burst)
  }
}
