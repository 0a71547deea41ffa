/**
 * What every sandbox must do for the invoker. Run against isolates and against the fake, so that tests of the invoker
 * with the fake prove something.
 */
import type { Test } from 'tap'
import type { FunctionSpec, Sandbox } from '#sandbox/sandbox.ts'
import { itemOf, runBatch } from '../fakes/sandbox-rig.ts'

/** What a handler of the suite does with its event. */
export type Behaviour =
  /** Returns `{ n }` of the event; throws TypeError('bad') when the event has `bad`. */
  | 'echo'
  /** Publishes `{n}` to out/N, sets state `last` to n and deletes `gone`. */
  | 'effects'
  /** Adds one to state `count`, waiting a turn between reading and writing; returns what it read. */
  | 'count'
  /** Waits `ms` of the event, then returns n. */
  | 'wait'
  /** Logs `n=N`. */
  | 'log'

export interface Implementation {
  readonly sandbox: Sandbox
  load(name: string, behaviour: Behaviour, more?: Partial<FunctionSpec>): void
}

export function sandboxSuite(t: Test, name: string, make: () => Implementation): void {
  const check = (title: string, body: (t: Test, parts: Implementation) => Promise<void>): Promise<unknown> =>
    t.test(`${name}: ${title}`, async t => {
      const parts = make()
      await using _ = parts.sandbox
      await body(t, parts)
    })
  const events = (count: number, more: (n: number) => object = () => ({})) =>
    Array.from({ length: count }, (_, n) => itemOf(n, { n, ...more(n) }, { orderKey: `k${n}` }))

  void check(
    'every item has one result, in order, and the end is the last word',
    async (t, { sandbox, load }) => {
      load('f', 'echo')
      const { end, order, results } = await runBatch(sandbox, 'f', events(20))
      t.same(end, { kind: 'done' })
      t.same(order, [...Array(20).keys()])
      t.same(JSON.parse(results.get(7)?.value ?? ''), { n: 7 })
    },
  )

  void check(
    'the first failure ends the run; what finished before it counts',
    async (t, { sandbox, load }) => {
      load('f', 'echo')
      const { end, order } = await runBatch(
        sandbox,
        'f',
        events(9, n => (n === 4 ? { bad: true } : {})),
      )
      t.match(end, { kind: 'failed', index: 4, error: { errorType: 'TypeError', errorMessage: 'bad' } })
      t.same(order, [0, 1, 2, 3])
      t.equal((await runBatch(sandbox, 'f', events(2))).end.kind, 'done', 'and the function works on')
    },
  )

  void check(
    'effects come with their result, in the order in which they were asked for',
    async (t, { sandbox, load }) => {
      load('f', 'effects')
      const { results } = await runBatch(sandbox, 'f', events(3))
      t.same(results.get(2)?.effects, [
        { type: 'publish', topic: 'out/2', payload: Buffer.from('{"n":2}'), qos: 1, retain: false },
        { type: 'set', key: 'last', value: '2' },
        { type: 'delete', key: 'gone' },
      ])
    },
  )

  void check('each message sees the state that those before it left', async (t, { sandbox, load }) => {
    load('f', 'count')
    const state = new Map([['count', '5']])
    const { results } = await runBatch(sandbox, 'f', events(10), state)
    t.same(
      [...results.values()].map(each => Number(each.value)),
      Array.from({ length: 10 }, (_, n) => n + 5),
    )
    t.equal(state.get('count'), '15')
  })

  void check(
    'with concurrency, keys keep their order and results come as they finish',
    async (t, { sandbox, load }) => {
      load('f', 'wait', { concurrency: 3 })
      await runBatch(
        sandbox,
        'f',
        events(3, () => ({ ms: 5 })),
      )
      const items = [60, 1, 1].map((ms, n) => itemOf(n, { ms, n }, { orderKey: n === 2 ? 'k0' : `k${n}` }))
      const { order } = await runBatch(sandbox, 'f', items)
      t.same(order, [1, 0, 2])
    },
  )

  void check('log lines name their invocation', async (t, { sandbox, load }) => {
    load('f', 'log')
    const items = events(2)
    const { logs } = await runBatch(sandbox, 'f', items)
    t.match(logs, [
      { invocationId: items[0]?.invocationId, level: 'info', text: 'n=0' },
      { invocationId: items[1]?.invocationId, level: 'info', text: 'n=1' },
    ])
  })

  void check('unloading brings a batch in flight back', async (t, { sandbox, load }) => {
    load('f', 'wait')
    await runBatch(
      sandbox,
      'f',
      events(1, () => ({ ms: 1 })),
    )
    const running = runBatch(
      sandbox,
      'f',
      events(1, () => ({ ms: 300 })),
    )
    await new Promise(resolve => setTimeout(resolve, 5))
    sandbox.unload('f')
    t.same((await running).end, { kind: 'returned' })
  })

  void check('a function that was never loaded, or has a batch, cannot run', async (t, { sandbox, load }) => {
    t.throws(() => sandbox.run('nobody', events(1), {} as never))
    load('f', 'wait')
    const running = runBatch(
      sandbox,
      'f',
      events(1, () => ({ ms: 5 })),
    )
    t.throws(() => sandbox.run('f', events(1), {} as never))
    await running
  })

  void check('stats name each function', async (t, { sandbox, load }) => {
    load('f', 'echo')
    load('g', 'echo')
    await runBatch(sandbox, 'f', events(1))
    t.same(
      sandbox.stats().map(each => each.name),
      ['f', 'g'],
    )
    t.equal(sandbox.stats()[0]?.state, 'ready')
  })
}
