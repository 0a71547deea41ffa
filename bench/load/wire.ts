/** MQTT 3.1.1 as bytes, for load: packets are found by offsets and made from templates, never as objects. */
import { once } from 'node:events'
import net from 'node:net'
import mqtt from 'mqtt-packet'

/** First bytes of packets, their flags cleared. */
export const packetType = { connack: 0x20, publish: 0x30, puback: 0x40, suback: 0x90 } as const

export type PacketHandler = (first: number, chunk: Buffer, start: number, end: number) => void

/** Splits a byte stream into packets: first byte, then start and end of the body. */
export function splitPackets(handle: PacketHandler): (chunk: Buffer) => void {
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
    if (at < chunk.length) rest = at === 0 ? chunk : chunk.subarray(at)
  }
}

export interface Connect {
  readonly port: number
  readonly clientId: string
  /** False for a persistent session. */
  readonly clean: boolean
}

/** A socket after its CONNACK. Rejects when the broker refuses or goes away. */
export async function connectMqtt({ port, clientId, clean }: Connect): Promise<net.Socket> {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
  const failed = once(socket, 'close').then(() => {
    throw new Error(`port ${port} closed before CONNACK`)
  })
  failed.catch(() => {})
  socket.on('error', () => {})
  await Promise.race([once(socket, 'connect'), failed])
  socket.write(
    mqtt.generate({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clean, clientId, keepalive: 0 }),
  )
  const [connack] = (await Promise.race([once(socket, 'data'), failed])) as [Buffer]
  if (connack[0] !== packetType.connack || connack[3] !== 0)
    throw new Error(`no CONNACK but ${connack.toString('hex')}`)
  return socket
}

/** Subscribes to one filter; resolves with the first SUBACK, and rejects when it refuses. */
export async function subscribe(socket: net.Socket, filter: string, qos: 0 | 1): Promise<void> {
  socket.write(mqtt.generate({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: filter, qos }] }))
  const [answer] = (await once(socket, 'data')) as [Buffer]
  if ((answer[0]! & 0xf0) !== packetType.suback || answer[4] === 0x80)
    throw new Error(`no SUBACK for ${filter} but ${answer.toString('hex')}`)
}
