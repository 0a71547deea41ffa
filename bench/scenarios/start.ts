/** From the start of the process to the first message that got through, ten functions there, as after a reboot. */
import { firstMessageThrough } from '../load/probe.ts'
import { sensorTopic } from '../peer.ts'
import type { RunningFescue } from '../peers/fescue.ts'
import type { Scenario } from '../scenario.ts'

const functions = 10

export const start: Scenario = {
  name: 'start',
  profiles: ['box', 'pi'],
  rounds: 'all',
  choosesSetting: false,
  figures: [
    {
      title: `start to the first message through, ${functions} functions, ms`,
      values: ['firstMessageMs'],
      better: 'lower',
    },
    {
      title: '… to its own ready line, ms',
      values: ['readyMs'],
      better: 'lower',
      goals: [{ profile: 'box', value: 'readyMs', atMost: 700 }],
    },
  ],
  takes: () => true,
  async measure(peer, { profile, setting, folder }) {
    const order = { profile, setting, folder, functions }
    // The first start makes data and caches; the second is the one of every further day.
    await (await peer.start(order))[Symbol.asyncDispose]()
    await using running = await peer.start(order)
    const at = await firstMessageThrough(running.port, sensorTopic(0), running.outcomes)
    const { readyMs } = running as Partial<RunningFescue>
    return {
      values: {
        firstMessageMs: Math.round(at - running.startedAt),
        ...(readyMs !== undefined && { readyMs: Math.round(readyMs) }),
      },
    }
  },
}
