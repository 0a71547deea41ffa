/** Several handlers of one function at once: order per key, and serial state. */
import t from 'tap'
import { readsMax } from '#guest/guest-state.ts'
import { createSandbox } from '#sandbox/supervisor.ts'
import { itemOf, runBatch, specOf } from '../fakes/sandbox-rig.ts'

const head = `const { publish, state } = require('fescue'); const wait = ms => new Promise(r => setTimeout(r, ms));`
const count = `const n = (await state.get('n')) ?? 0; await WAIT; await state.set('n', n + 1); return n`

t.test('handlers that wait overlap, one per order key, and results come as they finish', async t => {
  await using sandbox = createSandbox()
  sandbox.load(
    specOf('waits', `${head} exports.handler = async e => { await wait(e.ms); return e.n }`, {
      concurrency: 4,
    }),
  )
  const warm = Array.from({ length: 4 }, (_, n) => itemOf(n, { ms: 5 }, { orderKey: `k${n}` }))
  await runBatch(sandbox, 'waits', warm)
  const items = [120, 10, 60, 10, 10, 10].map((ms, n) =>
    itemOf(n, { ms, n }, { orderKey: n === 3 ? 'k0' : `k${n}` }),
  )
  const { order, end, elapsedMs, results } = await runBatch(sandbox, 'waits', items)
  t.equal(end.kind, 'done')
  t.equal(results.size, 6)
  t.ok(
    order.indexOf(1) < order.indexOf(2) && order.indexOf(2) < order.indexOf(0),
    `in finishing order: ${order}`,
  )
  t.ok(order.indexOf(0) < order.indexOf(3), 'one key stays in order')
  t.ok(elapsedMs < 120 + 10 + 400, `they overlap: ${Math.round(elapsedMs)} ms`)
})

t.test('with concurrency 1 nothing overlaps', async t => {
  await using sandbox = createSandbox()
  sandbox.load(
    specOf(
      'alone',
      `${head} let inside = 0; exports.handler = async () => { inside++; await wait(2); const seen = inside; inside--; return seen }`,
    ),
  )
  const { results } = await runBatch(
    sandbox,
    'alone',
    Array.from({ length: 10 }, (_, n) => itemOf(n, {}, { orderKey: `${n}` })),
  )
  t.same(
    [...results.values()].map(result => result.value),
    Array(10).fill('1'),
  )
})

for (const [name, wait] of [
  ['at once', 'undefined'],
  ['after a timer', 'wait(1 + Math.floor(Math.random() * 4))'],
  ['after a host call', `state.get('other' + n)`],
] as const)
  t.test(`one state key, eight lanes, finishing ${name}: every increment counts once`, async t => {
    await using sandbox = createSandbox()
    const code = `${head} exports.handler = async () => { ${count.replace('WAIT', wait)} }`
    sandbox.load(specOf('counts', code, { concurrency: 8 }))
    const state = new Map<string, string>()
    const items = Array.from({ length: 60 }, (_, n) => itemOf(n, {}, { orderKey: `k${n}` }))
    const { end, results } = await runBatch(sandbox, 'counts', items, state)
    t.equal(end.kind, 'done')
    t.equal(state.get('n'), '60')
    const seen = [...results.values()].map(result => Number(result.value)).sort((a, b) => a - b)
    t.same(
      seen,
      Array.from({ length: 60 }, (_, n) => n),
      'each saw another number',
    )
    const second = await runBatch(sandbox, 'counts', [itemOf(100, {})], state)
    t.equal(second.results.get(0)?.value, '60', 'and so it goes on in the next batch')
  })

t.test('an item that keeps losing runs alone in the end', async t => {
  await using sandbox = createSandbox()
  const code = `${head} exports.handler = async e => { const n = (await state.get('n')) ?? 0; if (e.slow) await wait(25); await state.set('n', n + 1); return n }`
  sandbox.load(specOf('slow', code, { concurrency: 2, timeoutMs: 5000 }))
  const state = new Map<string, string>()
  const items = Array.from({ length: 120 }, (_, n) => itemOf(n, { slow: n === 0 }, { orderKey: `k${n}` }))
  const { end, order } = await runBatch(sandbox, 'slow', items, state)
  t.equal(end.kind, 'done')
  t.equal(state.get('n'), '120')
  t.ok(order.indexOf(0) < 120)
})

t.test('the first failure ends the run; what was in flight comes back without a charge', async t => {
  await using sandbox = createSandbox()
  const code = `${head} exports.handler = async e => { if (e.warm) await wait(300); if (e.bad) { await wait(20); throw new Error('no') } if (e.slow) await wait(5000); return 1 }`
  sandbox.load(specOf('fails', code, { concurrency: 4, timeoutMs: 10_000 }))
  // The contexts that run side by side are made first.
  const warm = Array.from({ length: 4 }, (_, n) => itemOf(n, { warm: 1 }, { orderKey: `k${n}` }))
  await runBatch(sandbox, 'fails', warm)
  const items = [{ slow: 1 }, { bad: 1 }, {}, {}].map((event, n) => itemOf(n, event, { orderKey: `k${n}` }))
  const { end, results, elapsedMs } = await runBatch(sandbox, 'fails', items)
  t.match(end, { kind: 'failed', index: 1 })
  t.same([...results.keys()].sort(), [2, 3])
  t.ok(elapsedMs < 3000)
  const again = await runBatch(sandbox, 'fails', [itemOf(9, {})])
  t.equal(again.end.kind, 'done', 'and the function works on')
})

t.test('the deadline of one lane does not run while another computes', async t => {
  await using sandbox = createSandbox()
  const code = `${head} exports.handler = async e => { if (e.spin) for (;;); await wait(150); return 1 }`
  sandbox.load(specOf('spins', code, { concurrency: 2, timeoutMs: 300 }))
  const items = [itemOf(0, {}, { orderKey: 'a' }), itemOf(1, { spin: 1 }, { orderKey: 'b' })]
  const { end } = await runBatch(sandbox, 'spins', items)
  t.match(end, { kind: 'timeout', index: 1 }, 'the one that computes is charged')
})

t.test('the keys that an item reads are bounded', async t => {
  await using sandbox = createSandbox()
  const read = `for (let i = 0; i < e.n; i += 50) await Promise.all(Array.from({ length: 50 }, (_, k) => state.get('k' + (i + k))))`
  const spec = specOf('reads', `${head} exports.handler = async e => { ${read}; return e.n }`, {
    concurrency: 2,
    timeoutMs: 30_000,
  })
  sandbox.load(spec)
  t.match((await runBatch(sandbox, 'reads', [itemOf(1, { n: readsMax })])).end, { kind: 'done' })
  t.match((await runBatch(sandbox, 'reads', [itemOf(1, { n: readsMax + 50 })])).end, {
    kind: 'failed',
    error: { errorMessage: /at most 10000 keys/ },
  })
})

t.test('publishing and logging go to the message whose handler did it', async t => {
  await using sandbox = createSandbox()
  const code = `${head} exports.handler = async e => { await wait(e.n % 5); publish('out/' + e.n, e.n); await wait(e.n % 3); console.log('of', e.n); return e.n }`
  sandbox.load(specOf('mixed', code, { concurrency: 8 }))
  const items = Array.from({ length: 40 }, (_, n) => itemOf(n, { n }, { orderKey: `k${n}` }))
  const { results, logs } = await runBatch(sandbox, 'mixed', items)
  for (const [n, { effects, value }] of results) {
    t.equal(value, `${n}`)
    t.match(effects, [{ type: 'publish', topic: `out/${n}` }])
  }
  t.equal(logs.length, 40)
  for (const line of logs) t.equal(line.text, `of ${Number.parseInt(line.invocationId.slice(-12), 16)}`)
})

t.test('a failure costs its own context, not those beside it', async t => {
  await using sandbox = createSandbox()
  const code = `let runs = 0; const mine = Math.random(); ${head} exports.handler = async e => { runs++; if (e.bad) throw new Error('no'); await wait(e.ms); return { runs, mine } }`
  sandbox.load(specOf('kept', code, { concurrency: 3, timeoutMs: 10_000 }))
  const items = (events: object[]) => events.map((event, n) => itemOf(n, event, { orderKey: `k${n}` }))
  const seen = ({ results }: Awaited<ReturnType<typeof runBatch>>) =>
    [...results.values()].map(({ value }) => JSON.parse(value) as { runs: number; mine: number })
  await runBatch(sandbox, 'kept', items([{ ms: 300 }, { ms: 300 }, { ms: 300 }]))
  const { end } = await runBatch(sandbox, 'kept', items([{ bad: 1 }, { ms: 1 }, { ms: 1 }]))
  t.match(end, { kind: 'failed', index: 0 })
  const after = seen(await runBatch(sandbox, 'kept', items([{ ms: 300 }, { ms: 300 }, { ms: 300 }])))
  t.ok(
    after.some(({ runs }) => runs > 1),
    'a context that did not fail is used on',
  )
  t.ok(
    after.some(({ runs }) => runs === 1),
    'the one that failed is another now',
  )
})
