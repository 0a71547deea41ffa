import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { DurableConsumer } from '#router/consumer.ts'
import { toRecord } from '#router/message.ts'
import { Ending, type FakeContext, type FakeHandler, FakeSandbox } from '../fakes/fake-sandbox.ts'
import { type BenchOptions, InvokerBench, writeFunction } from '../fakes/invoker-bench.ts'
import { ManualClock } from '../fakes/manual-clock.ts'

const folder = () => mkdtempDisposable(join(tmpdir(), 'runner-'))
const base = 'triggers:\n  - topic: in/#\npermissions:\n  publish: [out/#]\n'

async function benchWith(
  path: string,
  manifest: string,
  handler: FakeHandler,
  options: Partial<BenchOptions> = {},
) {
  await writeFunction(path, 'f', manifest)
  const sandbox = options.sandbox ?? new FakeSandbox()
  sandbox.handlers.set('f', handler)
  return InvokerBench.open({ path, ...options, sandbox })
}

/** A handler that collects payloads and does what `act` says for each. */
function collecting(
  seen: string[],
  act: (payload: string, context: FakeContext) => unknown = () => {},
): FakeHandler {
  return context => {
    const payload = context.item.payload.toString()
    seen.push(payload)
    return act(payload, context)
  }
}

t.test(
  'a failing message is tried again with backoff, then becomes a dead letter; the rest waits in order',
  async t => {
    await using dir = await folder()
    const seen: string[] = []
    const attempts: number[] = []
    await using bench = await benchWith(
      dir.path,
      `${base}retry: {attempts: 3, backoff: 5ms}\n`,
      collecting(seen, async (payload, context) => {
        context.set('last', payload)
        context.publish('out/f', payload)
        if (payload !== '2') return
        attempts.push(context.item.attempt)
        throw new TypeError('not a number')
      }),
    )
    for (const payload of ['1', '2', '3', '4']) await bench.publish('in/a', payload)
    await bench.quiet()
    t.same(attempts, [1, 2, 3])
    t.same(
      bench.delivered.filter(({ topic }) => topic === 'out/f').map(({ payload }) => payload.toString()),
      ['1', '3', '4'],
      'nothing of the failed attempts was published',
    )
    const [dead] = await bench.invoker.deadLetters({ limit: 10 })
    t.match(dead, {
      function: 'f',
      topic: 'in/a',
      payload: Buffer.from('2'),
      attempts: 3,
      error: { errorType: 'TypeError', errorMessage: 'not a number' },
      revision: bench.row('f')?.revision,
      source: /^inbox\.f\.\d+\/1$/,
      state: { last: '"1"' },
    })
    t.match(bench.row('f'), { deadLetters: 1, invocations: { success: 3, error: 3 }, condition: 'running' })
  },
)

t.test('used attempts survive a restart', async t => {
  await using dir = await folder()
  const attempts: number[] = []
  const handler: FakeHandler = ({ item }) => {
    attempts.push(item.attempt)
    throw new Error('no')
  }
  const manifest = `${base}retry: {attempts: 3, backoff: 50ms}\n`
  {
    await using bench = await benchWith(dir.path, manifest, handler, { disk: true })
    await bench.publish('in/a', '1')
    await bench.until(() => attempts.length === 1)
    await bench.store.sync()
  }
  await using bench = await benchWith(dir.path, manifest, handler, { disk: true })
  await bench.until(() => bench.row('f')?.deadLetters === 1)
  t.same(attempts, [1, 2, 3])
})

t.test('dead letters: retried with retryOf in one batch, dropped, listed newest first', async t => {
  await using dir = await folder()
  let broken = true
  const seen: string[] = []
  await using bench = await benchWith(
    dir.path,
    `${base}retry: {attempts: 1}\n`,
    collecting(seen, () => {
      if (broken) throw new Error('no')
    }),
  )
  for (const payload of ['1', '2', '3', '4']) {
    await bench.publish('in/a', payload)
    await bench.until(() => bench.row('f')?.deadLetters === Number(payload))
  }
  await bench.store.sync()
  const texts = async () =>
    (await bench.invoker.deadLetters({ function: 'f', limit: 3 })).map(({ payload }) => `${payload}`)
  t.same(await texts(), ['4', '3', '2'])
  broken = false
  t.equal(await bench.invoker.retryDeadLetters('f', [1]), 1)
  t.same(await texts(), ['4', '3', '1'], 'one out of the middle')
  await bench.quiet()
  t.equal(seen.at(-1), '2')
  t.equal(await bench.invoker.dropDeadLetters('f', [0]), 1)
  t.same(await texts(), ['4', '3'])
  await t.rejects(bench.invoker.dropDeadLetters('f', [0]), { code: 'FESCUE_NOT_FOUND' })
  t.equal(await bench.invoker.retryDeadLetters('f'), 2)
  await bench.quiet()
  t.same(seen.slice(-2), ['3', '4'])
  t.equal(bench.row('f')?.deadLetters, 0)
  t.equal(bench.store.findLog('dead.f')?.records, 0, 'what is taken out is freed')
  await t.rejects(bench.invoker.retryDeadLetters('g'), { code: 'FESCUE_NOT_FOUND' })
})

t.test('timeout is charged; returned and a death without a culprit are not', async t => {
  await using dir = await folder()
  const attempts: string[] = []
  const ends = ['returned', 'killed-unknown', 'timeout', 'returned', 'timeout'] as const
  await using bench = await benchWith(dir.path, `${base}retry: {attempts: 2, backoff: 1ms}\n`, ({ item }) => {
    attempts.push(`${item.payload} ${item.attempt}`)
    const end = item.payload.toString() === '1' ? ends[attempts.length - 1] : undefined
    if (end !== undefined) throw new Ending(end)
  })
  await bench.publish('in/a', '1')
  await bench.publish('in/a', '2')
  await bench.quiet()
  t.same(attempts, ['1 1', '1 1', '1 1', '1 2', '1 2', '2 1'])
  const dead = await bench.invoker.deadLetters({ limit: 10 })
  t.match(dead, [{ payload: Buffer.from('1'), attempts: 2, error: { errorType: 'Sandbox.Timedout' } }])
})

t.test('a record that killed its probe is a dead letter at once; its neighbours run', async t => {
  await using dir = await folder()
  const seen: string[] = []
  await using bench = await benchWith(
    dir.path,
    base,
    collecting(seen, payload => {
      if (payload === '2') throw new Ending('killed')
    }),
  )
  for (const payload of ['1', '2', '3']) await bench.publish('in/a', payload)
  await bench.quiet()
  t.same(seen, ['1', '2', '3'])
  t.match(await bench.invoker.deadLetters({ limit: 10 }), [{ error: { errorType: 'Runtime.ExitError' } }])
})

t.test(
  'disabled: the inbox is kept and drops the oldest when full; a new revision brings it back',
  async t => {
    await using dir = await folder()
    const sandbox = new FakeSandbox()
    const seen: string[] = []
    let bad = true
    await using bench = await benchWith(
      dir.path,
      base,
      collecting(seen, () => {
        if (!bad) return
        sandbox.disabled.add('f')
        throw new Ending('killed-unknown')
      }),
      { sandbox },
    )
    await bench.publish('in/a', '1')
    await bench.until(() => bench.row('f')?.condition === 'disabled')
    await bench.publish('in/a', '2')
    t.match(bench.row('f'), { inbox: { records: 2 }, reason: /brought its executor down 3 times/ })
    t.equal(bench.store.findLog('inbox.f')?.limits.overflow, 'drop-oldest')
    await t.rejects(bench.invoker.invoke('f', Buffer.from('1')), { code: 'FESCUE_FUNCTION_UNAVAILABLE' })
    bad = false
    sandbox.disabled.clear()
    await writeFunction(dir.path, 'f', base, 'export const handler = () => 2\n')
    await bench.invoker.rescan()
    await bench.quiet()
    t.same(seen, ['1', '1', '2'])
    t.equal(bench.store.findLog('inbox.f')?.limits.overflow, 'block')
  },
)

t.test(
  'what the daemon refuses becomes a dead letter at once, and later results do not rest on it',
  async t => {
    await using dir = await folder()
    const seen: string[] = []
    await using bench = await benchWith(
      dir.path,
      base,
      collecting(seen, async (payload, context) => {
        context.set('n', Number((await context.get('n')) ?? 0) + 1)
        if (payload === 'forbidden') context.publish('secret/x', '1')
        if (payload === 'wildcard') context.publish('out/#', '1')
        if (payload === 'many') for (let i = 0; i < 1_025; i++) context.publish('out/x', '1')
        if (payload === 'large') context.publish('out/x', 'x'.repeat(5_000_000))
        if (payload === 'value') context.set('v', 'x'.repeat(300_000))
      }),
    )
    const payloads = ['a', 'forbidden', 'wildcard', 'many', 'large', 'value', 'b']
    for (const payload of payloads) await bench.publish('in/a', payload)
    await bench.publish('in/a', 'c', { hops: 14 })
    await bench.quiet()
    t.equal(await bench.state('f', 'n'), 3)
    t.equal(await bench.state('f', 'v'), undefined)
    const dead = await bench.invoker.deadLetters({ limit: 10 })
    t.same(dead.map(({ payload, error }) => `${payload} ${error.errorType}`).reverse(), [
      'forbidden FESCUE_PERMISSION_DENIED',
      'wildcard FESCUE_PERMISSION_DENIED',
      'many FESCUE_TRANSACTION_TOO_LARGE',
      'large FESCUE_TRANSACTION_TOO_LARGE',
      'value FESCUE_STATE_FULL',
    ])
    t.match(dead.at(-1)?.error.errorMessage, /add it to permissions\.publish/)
    t.equal(bench.delivered.filter(({ topic }) => topic.startsWith('secret')).length, 0)
  },
)

t.test('a loop of functions ends after 16 hops as a dead letter, with nothing published', async t => {
  await using dir = await folder()
  await using bench = await benchWith(
    dir.path,
    'triggers:\n  - topic: in/#\npermissions:\n  publish: [in/#]\n',
    async context => {
      context.set('runs', Number((await context.get('runs')) ?? 0) + 1)
      context.publish('in/again', 'x')
    },
  )
  await bench.publish('in/a', 'x')
  await bench.until(() => bench.row('f')?.deadLetters === 1)
  await bench.quiet()
  t.equal(await bench.state('f', 'runs'), 15)
  t.equal(bench.delivered.length, 16, 'the first and 15 more')
  t.match(await bench.invoker.deadLetters({ limit: 1 }), [{ error: { errorType: 'FESCUE_LOOP' } }])
})

t.test(
  '7 failures in a row open the breaker: probes use no attempts until they are spent too, then it recovers',
  async t => {
    await using dir = await folder()
    const clock = new ManualClock()
    let broken = true
    const runs: string[] = []
    await using bench = await benchWith(
      dir.path,
      `${base}retry: {attempts: 3, backoff: 1s}\n`,
      ({ item }) => {
        runs.push(`${item.payload} ${item.attempt}`)
        if (broken) throw new Error('no')
      },
      { clock },
    )
    for (let i = 1; i <= 6; i++) await bench.publish('in/a', String(i))
    /** Turns the clock until there are so many runs. */
    const turnTo = async (count: number) => {
      for (let i = 0; runs.length < count && i < 10_000; i++) {
        clock.advance(100)
        await new Promise(resolve => setImmediate(resolve))
      }
    }
    await turnTo(7)
    t.same(runs, ['1 1', '1 2', '1 3', '2 1', '2 2', '2 3', '3 1'])
    await new Promise(resolve => setImmediate(resolve))
    t.match(bench.row('f'), {
      condition: 'open',
      waitingFor: 'breaker',
      reason: /fails again and again: Error: no/,
    })
    const openedAt = clock.monotonic()
    await turnTo(8)
    t.ok(clock.monotonic() - openedAt >= 1_000, 'the first probe comes after a second')
    await turnTo(9)
    t.same(runs.slice(7), ['3 2', '3 2'], 'a probe uses no attempt')
    t.equal(bench.row('f')?.deadLetters, 2)
    await turnTo(11)
    t.same(runs.slice(9), ['3 2', '4 1'], 'but one record is not probed for ever')
    broken = false
    await turnTo(14)
    t.same(runs.slice(11), ['4 1', '5 1', '6 1'])
    t.equal(bench.row('f')?.condition, 'running')
  },
)

t.test(
  'a function that always throws never holds back publishers: its full inbox drops the oldest',
  async t => {
    await using dir = await folder()
    await using bench = await benchWith(dir.path, `${base}retry: {attempts: 3, backoff: 20ms}\n`, () => {
      throw new Error('never')
    })
    const log = bench.store.findLog('inbox.f')!
    log.setLimits({ maxBytes: 64 * 1024, overflow: 'block' })
    let longestMs = 0
    for (let i = 0; i < 2_000; i++) {
      const startedAt = performance.now()
      await bench.publish('in/a', 'x'.repeat(200))
      longestMs = Math.max(longestMs, performance.now() - startedAt)
    }
    t.ok(longestMs < 1_000, `the longest publish took ${Math.round(longestMs)} ms`)
    t.ok(log.bytes <= 80 * 1024)
    await bench.store.sync()
    const ledger = (await bench.records('ledger')).map(({ payload }) => JSON.parse(payload.toString()))
    const lost = ledger
      .filter(entry => entry.log === 'inbox.f')
      .reduce((sum, entry) => sum + entry.records, 0)
    const dead = bench.row('f')?.deadLetters ?? 0
    t.ok(lost + log.records + dead >= 2_000, 'what was dropped stands in the ledger')
  },
)

t.test('a function waits while a log that it publishes to is full and blocks, at most 10 s', async t => {
  await using dir = await folder()
  const clock = new ManualClock()
  const seen: string[] = []
  await using bench = await benchWith(
    dir.path,
    base,
    collecting(seen, (payload, context) => context.publish('out/x', payload)),
    { clock },
  )
  const log = bench.store.log('route', { maxBytes: 5_000, overflow: 'block' })
  const consumer: DurableConsumer = { id: 'route', log, record: (message, qos) => toRecord(message, qos) }
  bench.router.subscribe(consumer, 'out/#', 1)
  await bench.publish('out/x', 'x'.repeat(2_000))
  await bench.publish('in/a', '1')
  const turn = () => new Promise(resolve => setImmediate(resolve))
  await turn()
  t.match(bench.row('f'), { waitingFor: 'outputs' })
  t.same(seen, [])
  const { Transaction } = await import('#store/transaction.ts')
  const tx = new Transaction()
  tx.truncate(log, log.end)
  await bench.store.write(tx)
  await bench.quiet()
  t.same(seen, ['1'], 'room wakes it')
  await bench.publish('out/x', 'x'.repeat(2_000))
  await bench.publish('in/a', '2')
  await turn()
  t.same(seen, ['1'])
  clock.advance(10_001)
  await bench.quiet()
  t.same(seen, ['1', '2'], 'it does not wait for ever')
})

t.test('the publish rate paces a function', async t => {
  await using dir = await folder()
  const clock = new ManualClock()
  await using bench = await benchWith(
    dir.path,
    'triggers:\n  - topic: in/#\npermissions:\n  publish: [out/#]\n  publishPerSecond: 10\n',
    context => {
      for (let i = 0; i < 25; i++) context.publish('out/x', 'x')
    },
    { clock },
  )
  await bench.publish('in/a', '1')
  await bench.quiet()
  await bench.publish('in/a', '2')
  await new Promise(resolve => setImmediate(resolve))
  t.match(bench.row('f'), { waitingFor: 'rate', invocations: { success: 1 } })
  clock.advance(1_400)
  await new Promise(resolve => setImmediate(resolve))
  t.equal(bench.row('f')?.waitingFor, 'rate')
  clock.advance(200)
  await bench.quiet()
  t.equal(bench.row('f')?.invocations.success, 2)
})

t.test(
  'concurrency with orderBy topic: a topic that backs off waits, others go on, each in order',
  async t => {
    await using dir = await folder()
    const done: string[] = []
    const failed = new Set<string>()
    await using bench = await benchWith(
      dir.path,
      `${base}concurrency: 4\norderBy: topic\nretry: {attempts: 2, backoff: 400ms}\n`,
      async ({ item }) => {
        await new Promise(resolve => setImmediate(resolve))
        const text = `${item.topic} ${item.payload}`
        if (item.topic === 'in/b' && item.payload.toString() === '1' && !failed.has(text)) {
          failed.add(text)
          throw new Error('once')
        }
        done.push(text)
      },
    )
    for (let i = 0; i < 20; i++)
      for (const topic of ['in/a', 'in/b', 'in/c']) await bench.publish(topic, String(i))
    await bench.quiet()
    for (const topic of ['in/a', 'in/b', 'in/c'])
      t.same(
        done.filter(each => each.startsWith(topic)),
        Array.from({ length: 20 }, (_, i) => `${topic} ${i}`),
      )
    t.ok(done.indexOf('in/a 19') < done.indexOf('in/b 1'), 'others did not wait for the backoff')
    t.equal(bench.row('f')?.deadLetters, 0)
  },
)

t.test(
  'code that does not load opens the breaker and keeps the inbox; a new revision runs it at once',
  async t => {
    await using dir = await folder()
    const seen: string[] = []
    let broken = true
    await using bench = await benchWith(
      dir.path,
      base,
      collecting(seen, () => {
        if (broken) throw new Ending('broken')
      }),
    )
    await bench.publish('in/a', '1')
    await bench.until(() => bench.row('f')?.condition === 'open')
    t.match(bench.row('f'), { inbox: { records: 1 }, deadLetters: 0, reason: /broken/ })
    broken = false
    await writeFunction(dir.path, 'f', base, 'export const handler = () => 3\n')
    await bench.invoker.rescan()
    await bench.quiet()
    t.same(seen, ['1', '1'])
  },
)

t.test('code that was replaced while it failed to load does not hold up its successor', async t => {
  await using dir = await folder()
  const clock = new ManualClock()
  const seen: string[] = []
  const gate = Promise.withResolvers<void>()
  const started = Promise.withResolvers<void>()
  let isOld = true
  await using bench = await benchWith(
    dir.path,
    base,
    async ({ item }) => {
      if (!isOld) return seen.push(item.payload.toString())
      started.resolve()
      await gate.promise
      throw new Ending('broken')
    },
    { clock },
  )
  await bench.publish('in/a', '1')
  await started.promise
  await writeFunction(dir.path, 'f', base, 'export const handler = () => 3\n')
  await bench.invoker.rescan()
  isOld = false
  gate.resolve()
  for (let i = 0; seen.length === 0 && i < 100; i++) {
    clock.advance(1)
    await new Promise(resolve => setImmediate(resolve))
  }
  t.same(seen, ['1'])
})

t.test('a message whose time to live is over is not run, and counted as lost', async t => {
  await using dir = await folder()
  const seen: string[] = []
  await using bench = await benchWith(dir.path, base, collecting(seen))
  await bench.publish('in/a', 'old', { expiresAt: Date.now() - 1 })
  await bench.publish('in/a', 'new', { expiresAt: Date.now() + 60_000 })
  await bench.quiet()
  t.same(seen, ['new'])
  t.equal(bench.store.stats.lost.expired, 1)
})

t.test('a backlog larger than the memory tail is read from disk, in order', async t => {
  await using dir = await folder()
  const seen: string[] = []
  const gate = Promise.withResolvers<void>()
  await using bench = await benchWith(
    dir.path,
    base,
    collecting(seen, () => gate.promise),
    { disk: true },
  )
  const payload = 'x'.repeat(10_000)
  const publishes: Promise<void>[] = []
  for (let i = 0; i < 1_500; i++) publishes.push(bench.publish('in/a', `${i} ${payload}`))
  await Promise.all(publishes)
  gate.resolve()
  await bench.quiet()
  t.same(
    seen.map(text => Number(text.split(' ')[0])),
    Array.from({ length: 1_500 }, (_, i) => i),
  )
})

t.test('events tell what each run did; without a listener none is made', async t => {
  await using dir = await folder()
  await using bench = await benchWith(dir.path, `${base}retry: {attempts: 1}\n`, context => {
    context.log('hello')
    if (context.item.payload.toString() === 'bad') throw new RangeError('bad')
    context.publish('out/x', 'y')
    context.set('k', 1)
  })
  const events: object[] = []
  const lines: object[] = []
  bench.invoker.observers.onInvocation(event => events.push(event))
  bench.invoker.observers.onLog(line => lines.push(line))
  await bench.publish('in/a', 'good')
  await bench.publish('in/a', 'bad')
  await bench.quiet()
  t.match(events, [
    {
      function: 'f',
      topic: 'in/a',
      outcome: 'success',
      next: 'done',
      published: [{ topic: 'out/x' }],
      stateWrites: 1,
    },
    { outcome: 'error', next: 'dead-letter', attempt: 1, error: { errorType: 'RangeError' } },
  ])
  t.match(lines, [{ function: 'f', text: 'hello', level: 'info' }, {}])
})
