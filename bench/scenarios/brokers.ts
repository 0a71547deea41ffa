/** Brokers as brokers, with no function: one persistent subscriber, many subscribers, many publishers. */
import { type LoadOptions, runLoad } from '../load/load.ts'
import { sensorTopic } from '../peer.ts'
import type { Goal, Scenario } from '../scenario.ts'

type Shape = Pick<LoadOptions, 'qos' | 'publishers' | 'subscribers' | 'persistent'>

interface Broker {
  readonly name: string
  readonly title: string
  readonly shape: Shape
  /** Messages under way; each peer's better one counts. */
  readonly depths: readonly number[]
  /** The goal, by mosquitto's rate. */
  readonly timesMosquitto?: number
}

function broker({ name, title, shape, depths, timesMosquitto }: Broker): Scenario {
  const value = 'deliveredPerSecond'
  const goals: readonly Goal[] =
    timesMosquitto === undefined
      ? []
      : [{ profile: 'box', value, atLeast: timesMosquitto, times: 'mosquitto' }]
  return {
    name,
    profiles: ['box'],
    rounds: 'all',
    choosesSetting: true,
    depths,
    figures: [{ title, values: [value], better: 'higher', compared: true, goals }],
    takes: peer => peer.isBroker,
    async measure(peer, { profile, setting, depth, folder, warmSeconds, seconds }) {
      await using running = await peer.start({ profile, setting, folder, functions: 0 })
      const result = await runLoad({
        port: running.port,
        payloadBytes: 256,
        topic: sensorTopic,
        filter: 'sensors/#',
        window: Math.ceil(depth / 4 / Math.sqrt(shape.publishers)),
        inFlightMax: depth,
        warmSeconds,
        seconds,
        ...shape,
      })
      return { values: { ...result } }
    },
  }
}

export const persistentSubscriber = broker({
  name: 'persistent',
  title: 'to a persistent subscriber that is online, QoS 1, 1 → 1, messages/s',
  shape: { qos: 1, publishers: 1, subscribers: 1, persistent: true },
  depths: [1_000, 4_000],
  timesMosquitto: 0.5,
})

export const fanOut = broker({
  name: 'fan-out',
  title: 'fan-out 1 → 50, QoS 0, deliveries/s',
  shape: { qos: 0, publishers: 1, subscribers: 50, persistent: false },
  depths: [400],
  timesMosquitto: 1,
})

export const fanIn = broker({
  name: 'fan-in',
  title: 'fan-in 50 → 1, QoS 1, messages/s',
  shape: { qos: 1, publishers: 50, subscribers: 1, persistent: false },
  depths: [1_000, 4_000],
})
