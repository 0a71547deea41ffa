/** One connection that takes everything that matches, acknowledges it, and enters it in the books. */
import type { Socket } from 'node:net'
import mqtt from 'mqtt-packet'
import type { LoadOptions } from './load.ts'
import { readNumber } from './message.ts'
import type { Traffic } from './traffic.ts'
import { connectMqtt, packetType, splitPackets, subscribe } from './wire.ts'

const qosBits = 0b110

export class LoadSubscriber {
  readonly socket: Socket
  readonly #filter: string
  readonly #traffic: Traffic
  #acks: number[] = []

  static async connect(options: LoadOptions, index: number, traffic: Traffic): Promise<LoadSubscriber> {
    const { port, persistent, filter, qos } = options
    const clientId = `load-subscriber-${index}`
    const socket = await connectMqtt({ port, clientId, clean: !persistent })
    await subscribe(socket, filter, qos)
    return new LoadSubscriber(filter, traffic, socket)
  }

  private constructor(filter: string, traffic: Traffic, socket: Socket) {
    this.socket = socket
    this.#filter = filter
    this.#traffic = traffic
    const split = splitPackets((first, chunk, start) => this.#receive(first, chunk, start))
    socket.on('data', chunk => {
      split(chunk)
      if (this.#acks.length > 0) socket.write(Buffer.from(this.#acks))
      this.#acks = []
    })
  }

  /** Ends the subscription, so that a persistent session takes no more. */
  leave(): void {
    this.socket.end(mqtt.generate({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: [this.#filter] }))
  }

  #receive(first: number, chunk: Buffer, start: number): void {
    if ((first & 0xf0) !== packetType.publish) return
    let at = start + 2 + chunk.readUInt16BE(start)
    if ((first & qosBits) !== 0) {
      this.#acks.push(packetType.puback, 2, chunk[at]!, chunk[at + 1]!)
      at += 2
    }
    this.#traffic.deliver(readNumber(chunk, at), performance.now())
  }
}
