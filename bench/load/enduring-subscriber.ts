/** A persistent subscriber that stays through crashes of the broker and hands on each delivery, copies included. */
import mqtt from 'mqtt-packet'
import { EnduringClient } from './enduring-client.ts'
import { packetType } from './wire.ts'

const qosBits = 0b110

export class EnduringSubscriber {
  readonly #client: EnduringClient
  readonly #subscribed = Promise.withResolvers<void>()
  #acks: number[] = []

  constructor(
    name: string,
    port: () => number,
    filter: string,
    onMessage: (topic: string, payload: string) => void,
  ) {
    this.#client = new EnduringClient({
      clientId: name,
      port,
      // Again at each connection: it changes nothing where the session was kept.
      onConnected: socket =>
        socket.write(
          mqtt.generate({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: filter, qos: 1 }] }),
        ),
      onPacket: (first, chunk, start, end) => {
        if ((first & 0xf0) === packetType.suback) this.#subscribed.resolve()
        if ((first & 0xf0) !== packetType.publish) return
        let at = start + 2 + chunk.readUInt16BE(start)
        const topic = chunk.toString('latin1', start + 2, at)
        if ((first & qosBits) !== 0) {
          this.#acks.push(packetType.puback, 2, chunk[at]!, chunk[at + 1]!)
          at += 2
        }
        onMessage(topic, chunk.toString('latin1', at, end))
      },
      onTurn: () => {
        if (this.#acks.length > 0) this.#client.socket?.write(Buffer.from(this.#acks))
        this.#acks = []
      },
    })
  }

  get subscribed(): Promise<void> {
    return this.#subscribed.promise
  }

  stop(): void {
    this.#client.stop()
  }
}
