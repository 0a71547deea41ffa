/** Asks a peer, as soon as it listens, whether a message gets through: publishes again until one has. */
import { once } from 'node:events'
import { publishTemplate, writeNumber } from './message.ts'
import { connectMqtt, packetType, splitPackets, subscribe } from './wire.ts'

const againMs = 5
/** Beyond all numbers of a load, so that a late outcome counts for none. */
const probeNumber = 9_999_999_999
const waitMaxMs = 30_000

/** Resolves with the instant (`performance.now()`) at which an outcome of a message to `topic` arrived. */
export async function firstMessageThrough(port: number, topic: string, outcomes: string): Promise<number> {
  const subscriber = await connectMqtt({ port, clientId: 'probe-subscriber', clean: true })
  await subscribe(subscriber, outcomes, 1)
  const publisher = await connectMqtt({ port, clientId: 'probe-publisher', clean: true })
  const { bytes, numberAt } = publishTemplate(topic, 0, 64)
  writeNumber(bytes, numberAt, probeNumber)
  const through = Promise.withResolvers<number>()
  const split = splitPackets(first => {
    if ((first & 0xf0) === packetType.publish) through.resolve(performance.now())
  })
  subscriber.on('data', split)
  publisher.write(bytes)
  const again = setInterval(() => publisher.write(bytes), againMs)
  try {
    return await Promise.race([
      through.promise,
      once(AbortSignal.timeout(waitMaxMs), 'abort').then(() => {
        throw new Error(`no message got from ${topic} to ${outcomes} within ${waitMaxMs} ms`)
      }),
    ])
  } finally {
    clearInterval(again)
    subscriber.destroy()
    publisher.destroy()
  }
}
