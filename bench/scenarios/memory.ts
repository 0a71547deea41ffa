/** Proportional memory of all processes of a peer, with functions that were all called a moment ago. */
import { proportionalMb } from '../launch.ts'
import { firstMessageThrough } from '../load/probe.ts'
import { actuatorTopic, type Peer, sensorTopic } from '../peer.ts'
import type { Conditions, Goal, Outcome, Scenario } from '../scenario.ts'

/** Time to settle after the calls; far less than a function's idle time. */
const settleMaxMs = 3_000
const callsPerFunction = 2

async function measureMemory(peer: Peer, conditions: Conditions, functions: number): Promise<Outcome> {
  const { profile, setting, folder, seconds } = conditions
  await using running = await peer.start({ profile, setting, folder, functions })
  for (let call = 0; call < callsPerFunction; call++)
    for (let i = 0; i < functions; i++)
      await firstMessageThrough(running.port, sensorTopic(i), actuatorTopic(i))
  await new Promise(resolve => setTimeout(resolve, Math.min(settleMaxMs, seconds * 1500)))
  const values = { pssMb: Math.round(proportionalMb(running.pids())) }
  const kills = profile.outOfMemoryKills()
  return {
    values,
    violations: kills === undefined || kills === 0 ? [] : [`${kills} processes killed for memory`],
  }
}

function memory(functions: number, profiles: Scenario['profiles'], goal: Goal): Scenario {
  return {
    name: `memory-${functions}`,
    profiles,
    rounds: 'one',
    choosesSetting: false,
    figures: [
      {
        title: `memory with ${functions} functions just called, all processes (PSS), MB`,
        values: ['pssMb'],
        better: 'lower',
        goals: [goal],
      },
    ],
    takes: peer => peer.runsFunctions,
    measure: (peer, conditions) => measureMemory(peer, conditions, functions),
  }
}

export const memory10 = memory(10, ['box', 'pi'], { profile: 'box', value: 'pssMb', atMost: 85 })
export const memory100 = memory(100, ['pi'], { profile: 'pi', value: 'pssMb', atMost: 250 })
