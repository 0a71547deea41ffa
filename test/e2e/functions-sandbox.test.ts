/** Functions as authors write them, from their folder through real isolates to committed effects. */
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { Supervisor } from '#sandbox/supervisor.ts'
import { InvokerBench, writeFunction } from '../fakes/invoker-bench.ts'

const fan = `import { publish, state } from 'fescue'

export async function handler(event: { celsius: number }, context: { topic: string }) {
  if (typeof event.celsius !== 'number') throw new TypeError('celsius is missing')
  const on = event.celsius > Number(process.env.THRESHOLD)
  if (on !== (await state.get('on'))) {
    await state.set('on', on)
    publish(\`actuators/\${context.topic.split('/')[1]}/fan\`, { on })
  }
  return { on }
}
`
const fanManifest = `triggers:
  - topic: sensors/+/temperature
permissions:
  publish: [actuators/+/fan]
environment: { THRESHOLD: "28" }
retry: { attempts: 2, backoff: 1ms }
`

t.test(
  'sensor, function, actuator: state, outputs, an error with the author’s line, a loop that never ends',
  async t => {
    await using dir = await mkdtempDisposable(join(tmpdir(), 'functions-'))
    await writeFunction(dir.path, 'fan', fanManifest, fan)
    const counter = `import { state, publish } from 'fescue'
export async function handler(event, context) {
  if (event === 'spin') for (;;) {}
  const n = ((await state.get('n')) ?? 0) + 1
  await state.set('n', n)
  publish('out/n', n)
}
`
    const counterManifest =
      'triggers:\n  - topic: count/+\npermissions:\n  publish: [out/n]\ntimeout: 200ms\nretry: {attempts: 1}\nconcurrency: 8\n'
    await writeFunction(dir.path, 'counter', counterManifest, counter)
    await using engine = new Supervisor({})
    await using bench = await InvokerBench.open({ path: dir.path, disk: true, engine })
    const celsius = [20, 27, 29, 30, 31, 20]
    for (const value of celsius)
      await bench.publish('sensors/hall/temperature', JSON.stringify({ celsius: value }))
    await bench.quiet()
    t.same(
      bench.delivered
        .filter(({ topic }) => topic === 'actuators/hall/fan')
        .map(({ payload }) => `${payload}`),
      ['{"on":false}', '{"on":true}', '{"on":false}'],
    )
    t.match(
      await bench.invoker.invoke('fan', Buffer.from('{"celsius": 40}'), {
        topic: 'sensors/hall/temperature',
      }),
      {
        kind: 'ok',
        value: '{"on":true}',
        published: 1,
      },
    )
    await bench.publish('sensors/hall/temperature', '{}')
    await bench.quiet()
    const [dead] = await bench.invoker.deadLetters({ limit: 1 })
    t.match(dead, {
      error: { errorType: 'TypeError', errorMessage: 'celsius is missing' },
      attempts: 2,
      state: { on: 'true' },
    })
    t.match(
      dead?.error.trace.join('\n'),
      /at (async )?(Object\.)?handler \(fan\/index\.ts:4:48\)/,
      'the trace names the author’s line',
    )

    for (let i = 0; i < 200; i++) await bench.publish(`count/${i % 5}`, i === 100 ? '"spin"' : String(i))
    await bench.quiet()
    t.equal(await bench.state('counter', 'n'), 199, '8 at once on one key: each counted once')
    const counted = bench.delivered
      .filter(({ topic }) => topic === 'out/n')
      .map(({ payload }) => Number(payload))
    t.same(
      counted,
      Array.from({ length: 199 }, (_, i) => i + 1),
    )
    t.match(await bench.invoker.deadLetters({ function: 'counter', limit: 5 }), [
      { payload: Buffer.from('"spin"'), error: { errorType: 'Sandbox.Timedout' } },
    ])
  },
)
