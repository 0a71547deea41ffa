/** Publishes many numbered messages at QoS 1 as fast as a window of unacknowledged ones allows. */
import { once } from 'node:events'
import net from 'node:net'
import mqtt from 'mqtt-packet'

export interface BlastOptions {
  readonly port: number
  readonly topic: string
  readonly count: number
  /** The payload of message `n`. */
  readonly payload: (n: number) => string
  readonly window?: number
}

export interface BlastReport {
  /** The longest that a message waited for its PUBACK, in ms. */
  readonly longestAckMs: number
  readonly seconds: number
}

export async function blast({
  port,
  topic,
  count,
  payload,
  window = 500,
}: BlastOptions): Promise<BlastReport> {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  const parser = mqtt.parser({ protocolVersion: 4 })
  const sentAt = new Float64Array(65_536)
  let sent = 0
  let acknowledged = 0
  let longestAckMs = 0
  const done = Promise.withResolvers<void>()
  const pump = () => {
    const packets: Buffer[] = []
    while (sent < count && sent - acknowledged < window) {
      const messageId = (sent % 65_535) + 1
      sentAt[messageId] = performance.now()
      packets.push(
        mqtt.generate({
          cmd: 'publish',
          topic,
          payload: payload(sent),
          qos: 1,
          dup: false,
          retain: false,
          messageId,
        }),
      )
      sent += 1
    }
    if (packets.length > 0) socket.write(Buffer.concat(packets))
  }
  parser.on('packet', packet => {
    if (packet.cmd === 'connack') pump()
    if (packet.cmd !== 'puback') return
    longestAckMs = Math.max(longestAckMs, performance.now() - sentAt[packet.messageId!]!)
    acknowledged += 1
    if (acknowledged === count) done.resolve()
    else if (sent - acknowledged < window / 2) pump()
  })
  socket.on('data', chunk => parser.parse(chunk))
  socket.on('close', () => done.reject(new Error(`the broker closed after ${acknowledged} of ${count}`)))
  const startedAt = performance.now()
  socket.write(
    mqtt.generate({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clean: true,
      clientId: `blast-${process.pid}-${startedAt}`,
      keepalive: 0,
    }),
  )
  await done.promise
  socket.removeAllListeners('close')
  socket.destroy()
  return { longestAckMs, seconds: (performance.now() - startedAt) / 1000 }
}
