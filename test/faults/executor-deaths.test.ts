/** Blame: who pays when an executor dies, and that nobody else does. */
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import type { Sandbox } from '#sandbox/sandbox.ts'
import { createSandbox } from '#sandbox/supervisor.ts'
import { callOnce, itemOf, runBatch, specOf } from '../fakes/sandbox-rig.ts'

const abort = `"x".repeat(2 ** 29 - 25).split("")`
const good = `exports.handler = async e => { if (e.ms) await new Promise(r => setTimeout(r, e.ms)); return e.n ?? 0 }`
const poisoned = `exports.handler = async e => { if (e.ms) await new Promise(r => setTimeout(r, e.ms)); if (e.poison) ${abort}; return e.n }`

const statsOf = (sandbox: Sandbox, name: string) => sandbox.stats().find(each => each.name === name)
const pidOf = (sandbox: Sandbox, name: string) => statsOf(sandbox, name)?.executorPid ?? 0

/** Kills the executor of a function once a message is in the handler; gives its process id. */
async function killWhenRunning(sandbox: Sandbox, name: string): Promise<number> {
  while (!(statsOf(sandbox, name)?.heapBytes ?? 0)) await delay(5)
  await delay(100)
  const pid = pidOf(sandbox, name)
  process.kill(pid, 'SIGKILL')
  return pid
}

t.test('a poison record of the only function that runs becomes a dead letter after two probes', async t => {
  await using sandbox = createSandbox()
  sandbox.load(specOf('f', poisoned))
  const items = [0, 1, 2, 3].map(n => itemOf(n, { n, poison: n === 2 }))
  const first = await runBatch(sandbox, 'f', items)
  t.match(first.end, { kind: 'killed', error: { errorType: 'Runtime.ExitError' } })
  t.equal(first.end.kind === 'killed' && first.end.index, undefined, 'which record it was is not known yet')
  t.equal(statsOf(sandbox, 'f')?.state, 'unloaded')

  const second = await runBatch(sandbox, 'f', items)
  t.match(second.end, { kind: 'killed' })
  t.equal(second.end.kind === 'killed' && second.end.index, undefined, 'one kill proves nothing')
  t.same([...second.results.keys()], [0, 1], 'one message at a time, those before it count')

  const third = await runBatch(sandbox, 'f', items.slice(2))
  t.match(third.end, {
    kind: 'killed',
    index: 0,
    error: { errorMessage: new RegExp(items[2]?.invocationId ?? '-') },
  })

  const rest = await runBatch(sandbox, 'f', items.slice(3))
  t.equal(rest.end.kind, 'done')
  t.not(statsOf(sandbox, 'f')?.state, 'disabled')
})

t.test('when several run, nobody is charged before a probe shows who it was', async t => {
  await using sandbox = createSandbox()
  for (const name of ['good', 'bad']) sandbox.load(specOf(name, good))
  await Promise.all(['good', 'bad'].map(name => callOnce(sandbox, name, {})))
  const shared = pidOf(sandbox, 'good')
  t.equal(pidOf(sandbox, 'bad'), shared)
  const both = ['good', 'bad'].map(name => runBatch(sandbox, name, [itemOf(1, { ms: 5000 })]))
  await delay(30)
  process.kill(shared, 'SIGKILL')
  t.same(
    (await Promise.all(both)).map(ran => ran.end.kind),
    ['returned', 'returned'],
  )

  const probe = runBatch(
    sandbox,
    'bad',
    [0, 1, 2].map(n => itemOf(n, { ms: n === 1 ? 5000 : 0 })),
  )
  const other = await runBatch(sandbox, 'good', [itemOf(1, { ms: 20, n: 5 })])
  t.equal(other.end.kind, 'done', 'the neighbour lost one re-run')
  const alone = await killWhenRunning(sandbox, 'bad')
  t.not(alone, pidOf(sandbox, 'good'), 'each probe has an executor to itself')
  t.match((await probe).end, { kind: 'killed', index: undefined })
  t.same([...(await probe).results.keys()], [0])
  t.equal(await callOnce(sandbox, 'good', { n: 6 }), 6)

  const second = runBatch(sandbox, 'bad', [itemOf(1, { ms: 5000 })])
  await killWhenRunning(sandbox, 'bad')
  t.same((await second).end, { kind: 'returned' }, 'a kill from outside proves nothing more')
  t.equal(await callOnce(sandbox, 'bad', { n: 7 }), 7)
  t.not(pidOf(sandbox, 'bad'), pidOf(sandbox, 'good'), 'the charged one has an executor of its own')
  t.equal(statsOf(sandbox, 'good')?.state, 'ready')
})

t.test('an outside kill with several running charges nobody', async t => {
  await using sandbox = createSandbox()
  for (const name of ['a', 'b']) sandbox.load(specOf(name, good))
  await Promise.all(['a', 'b'].map(name => callOnce(sandbox, name, {})))
  const running = ['a', 'b'].map(name => runBatch(sandbox, name, [itemOf(1, { ms: 5000 })]))
  await delay(30)
  process.kill(pidOf(sandbox, 'a'), 'SIGKILL')
  t.same(
    (await Promise.all(running)).map(ran => ran.end.kind),
    ['returned', 'returned'],
  )
  for (const name of ['a', 'b']) {
    t.equal(await callOnce(sandbox, name, { n: 3 }), 3)
    t.equal(await callOnce(sandbox, name, { n: 4 }), 4)
  }
  t.equal(pidOf(sandbox, 'a'), pidOf(sandbox, 'b'), 'cleared by their probes, they share again')
})

t.test(
  'a function that always kills is disabled after three charges, and its next spec has a clean slate',
  async t => {
    await using sandbox = createSandbox()
    sandbox.load(specOf('f', poisoned))
    sandbox.load(specOf('good', good))
    const kinds: string[] = []
    for (let n = 0; n < 6 && statsOf(sandbox, 'f')?.state !== 'disabled'; n++) {
      const { end } = await runBatch(sandbox, 'f', [itemOf(n, { poison: true })])
      kinds.push(end.kind)
    }
    t.same(kinds, ['killed', 'killed', 'killed'])
    t.match(statsOf(sandbox, 'f'), { state: 'disabled', reason: /3 times in 10 minutes/ })
    const { end, elapsedMs } = await runBatch(sandbox, 'f', [itemOf(9, {})])
    t.match(end, { kind: 'killed', error: { errorMessage: /3 times in 10 minutes/ } })
    t.ok(elapsedMs < 100, 'answered at once')
    t.equal(await callOnce(sandbox, 'good', { n: 1 }), 1)
    sandbox.load(specOf('f', good))
    t.equal(await callOnce(sandbox, 'f', { n: 2 }), 2)
  },
)

t.test(
  'a builtin that cannot be stopped costs its neighbours one re-run, and moves the function out',
  async t => {
    await using sandbox = createSandbox()
    const stuck = `exports.handler = async e => { if (e.stuck) Array.prototype.indexOf.call({ length: 2 ** 53 - 1 }, 1); return 1 }`
    sandbox.load(specOf('stuck', stuck, { timeoutMs: 300 }))
    sandbox.load(specOf('good', good))
    await Promise.all(['stuck', 'good'].map(name => callOnce(sandbox, name, {})))
    const pid = pidOf(sandbox, 'good')
    const [one, two] = await Promise.all([
      runBatch(sandbox, 'stuck', [itemOf(0, {}), itemOf(1, { stuck: 1 })]),
      runBatch(sandbox, 'good', [itemOf(2, { ms: 5000 })]),
    ])
    t.match(one.end, { kind: 'timeout', index: 1, error: { errorType: 'Sandbox.Timedout' } })
    t.same([...one.results.keys()], [0])
    t.ok(one.elapsedMs >= 550 && one.elapsedMs < 300 + 250 + 1500, `${Math.round(one.elapsedMs)} ms`)
    t.equal(two.end.kind, 'returned')
    t.throws(() => process.kill(pid, 0))
    t.equal(await callOnce(sandbox, 'good', { n: 1 }), 1)
    t.equal(await callOnce(sandbox, 'stuck', {}), 1)
    t.not(pidOf(sandbox, 'stuck'), pidOf(sandbox, 'good'))
  },
)

t.test('a stopped executor is noticed and replaced', async t => {
  await using sandbox = createSandbox()
  sandbox.load(specOf('f', good, { timeoutMs: 300 }))
  await callOnce(sandbox, 'f', {})
  const pid = pidOf(sandbox, 'f')
  const running = runBatch(sandbox, 'f', [itemOf(1, { ms: 200 })])
  await delay(60)
  process.kill(pid, 'SIGSTOP')
  const { end, elapsedMs } = await running
  t.equal(end.kind, 'timeout')
  // Deadline, grace, and the 3 s that an executor without processor time gets.
  t.ok(elapsedMs < 12_000, `${Math.round(elapsedMs)} ms`)
  t.throws(() => process.kill(pid, 0))
  t.equal(await callOnce(sandbox, 'f', { n: 8 }), 8)
})
