/**
 * The main job: a sensor's message of 256 bytes goes through a function to an actuator, QoS 1 all the way. A peer
 * without functions only forwards it, which is less work.
 */
import { runLoad } from '../load/load.ts'
import { firstMessageThrough } from '../load/probe.ts'
import { type Peer, sensorTopic } from '../peer.ts'
import type { Conditions, Figure, Goal, Outcome, Scenario } from '../scenario.ts'

/** Messages under way at full rate; each peer's better one counts. */
const depths = [1_000, 4_000]

interface Pace {
  readonly publishers: number
  readonly ratePerSecond?: number
}

async function measureFlow(peer: Peer, conditions: Conditions, pace: Pace): Promise<Outcome> {
  const { profile, setting, depth, folder, warmSeconds, seconds } = conditions
  await using running = await peer.start({ profile, setting, folder, functions: 1 })
  await firstMessageThrough(running.port, sensorTopic(0), running.outcomes)
  const result = await runLoad({
    port: running.port,
    qos: 1,
    subscribers: 1,
    persistent: false,
    payloadBytes: 256,
    topic: sensorTopic,
    filter: running.outcomes,
    inFlightMax: depth,
    window: Math.ceil(depth / 4 / Math.sqrt(pace.publishers)),
    warmSeconds,
    seconds,
    ...pace,
  })
  return { values: { ...result } }
}

const rate = 'deliveredPerSecond'
const rateGoals: readonly Goal[] = [
  { profile: 'box', value: rate, atLeast: 2.5, times: 'Node-RED + mosquitto' },
  { profile: 'box', value: rate, atLeast: 0.6, times: 'mosquitto' },
  { profile: 'pi', value: rate, atLeast: 2_000 },
]

function saturated(name: string, publishers: number): Scenario {
  const who = publishers === 1 ? '1 publisher' : `${publishers} publishers`
  const figures: readonly Figure[] = [
    {
      title: `sensor → function → actuator, ${who}, messages/s`,
      values: ['deliveredPerSecond'],
      better: 'higher',
      compared: true,
      goals: publishers === 1 ? rateGoals : [],
    },
    { title: '… p50 / p99 at that rate, ms', values: ['p50Ms', 'p99Ms'], better: 'lower' },
  ]
  return {
    name,
    profiles: ['box', 'pi'],
    rounds: 'all',
    choosesSetting: publishers === 1,
    depths,
    figures,
    takes: () => true,
    measure: (peer, conditions) => measureFlow(peer, conditions, { publishers }),
  }
}

function paced(ratePerSecond: number, goals: readonly Goal[]): Scenario {
  return {
    name: `paced-${ratePerSecond}`,
    profiles: goals.map(({ profile }) => profile),
    rounds: 'all',
    choosesSetting: true,
    figures: [
      {
        title: `the same at ${ratePerSecond.toLocaleString('en')} messages/s, p50 / p99, ms`,
        values: ['p50Ms', 'p99Ms'],
        better: 'lower',
        goals,
      },
    ],
    takes: () => true,
    measure: (peer, conditions) => measureFlow(peer, conditions, { publishers: 1, ratePerSecond }),
  }
}

export const flow = saturated('flow', 1)
export const flowFrom10 = saturated('flow-from-10', 10)
export const paced1000 = paced(1_000, [{ profile: 'box', value: 'p99Ms', atMost: 8 }])
export const paced100 = paced(100, [{ profile: 'pi', value: 'p99Ms', atMost: 60 }])
