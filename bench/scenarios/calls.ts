/**
 * Cold start and warm call of a function. The cold start is what the first call takes longer than a further one,
 * both asked over HTTP: isolate, code, module, and the first run of the handler. The warm call is the time inside
 * the handler, as the daemon reports it.
 */
import { startFescue } from '../peers/fescue.ts'
import type { Scenario } from '../scenario.ts'

const functions = 10
const warmCalls = 20

interface InvokeDetail {
  readonly durationMs: number
}

const source = `
import { state } from 'fescue'
export const handler = async event => state.set('n', event.n)
`

export const calls: Scenario = {
  name: 'calls',
  profiles: ['box', 'pi'],
  rounds: 'one',
  choosesSetting: false,
  figures: [
    {
      title: 'cold start of a function / warm call, ms',
      values: ['coldStartMs', 'warmCallMs'],
      better: 'lower',
      goals: [
        { profile: 'box', value: 'coldStartMs', atMost: 10 },
        { profile: 'box', value: 'warmCallMs', atMost: 0.1 },
      ],
    },
  ],
  takes: peer => peer.name === 'Fescue',
  async measure(_peer, { profile, setting, folder }) {
    await using running = await startFescue({ profile, setting, folder, functions, source })
    const call = async (name: string) => {
      const at = performance.now()
      const { durationMs } = await running.api<InvokeDetail>(`/api/v1/functions/${name}/invoke?detail=1`, {
        method: 'POST',
        body: '{"n":1}',
      })
      return { tookMs: performance.now() - at, durationMs }
    }
    // The first function pays for what all share: the executor, the HTTP connection.
    const names = Array.from({ length: functions }, (_, i) => `thermostat-${i}`)
    for (let i = 0; i < warmCalls; i++) await call('thermostat-0')
    const first: number[] = []
    const warm: { tookMs: number; durationMs: number }[] = []
    for (const name of names.slice(1)) {
      first.push((await call(name)).tookMs)
      for (let i = 0; i < warmCalls; i++) warm.push(await call(name))
    }
    const warmTookMs = median(warm.map(each => each.tookMs))
    return {
      values: {
        coldStartMs: round(Math.max(0, median(first) - warmTookMs)),
        warmCallMs: round(median(warm.map(each => each.durationMs))),
        requestMs: round(warmTookMs),
      },
    }
  },
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0
const round = (value: number) => Math.round(value * 1000) / 1000
