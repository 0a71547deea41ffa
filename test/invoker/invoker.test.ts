import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { type FakeContext, FakeSandbox } from '../fakes/fake-sandbox.ts'
import {
  type BenchOptions,
  functionsOf,
  InvokerBench,
  removeFunctionFolder,
  writeFunction,
} from '../fakes/invoker-bench.ts'

const folder = () => mkdtempDisposable(join(tmpdir(), 'invoker-'))
const counter = 'triggers:\n  - topic: in/#\npermissions:\n  publish: [out/#]\nretry: {backoff: 1ms}\n'

/** A store with one function `count`: state is the number of messages, each gives one output. */
async function countingBench(path: string, options: Partial<BenchOptions> = {}, manifest = counter) {
  await writeFunction(path, 'count', manifest)
  const { sandbox = new FakeSandbox() } = options
  if (!sandbox.handlers.has('count')) sandbox.handlers.set('count', counting)
  return InvokerBench.open({ path, ...options, sandbox })
}

async function counting(context: FakeContext): Promise<number> {
  const count = Number((await context.get('count')) ?? 0) + 1
  context.set('count', count)
  context.publish('out/count', String(count))
  return count
}

t.test('a message runs its function; state and output are committed with the checkpoint', async t => {
  await using dir = await folder()
  await using bench = await countingBench(dir.path)
  for (let i = 1; i <= 500; i++) await bench.publish('in/a', String(i))
  const outputs = () => bench.delivered.filter(({ topic }) => topic === 'out/count')
  await bench.until(() => outputs().length === 500)
  t.same(
    outputs().map(({ payload }) => Number(payload)),
    Array.from({ length: 500 }, (_, i) => i + 1),
    'message k+1 sees the state that k left',
  )
  t.same(outputs()[0]?.origin, { kind: 'function', name: 'count' })
  t.equal(outputs()[0]?.hops, 1)
  t.equal(await bench.state('count', 'count'), 500)
  await bench.quiet()
  t.match(bench.row('count'), { condition: 'running', deadLetters: 0, invocations: { success: 500 } })
})

t.test(
  'D2: results whose commit never happened leave nothing; after a restart each effect exists once',
  async t => {
    await using dir = await folder()
    const runs = new Map<string, number>()
    let inHandler: (() => void) | undefined
    {
      await using bench = await countingBench(dir.path, { disk: true })
      bench.sandbox.handlers.set('count', async context => {
        const key = context.item.payload.toString()
        runs.set(key, (runs.get(key) ?? 0) + 1)
        const value = await counting(context)
        if (key !== '30') return value
        // The store is closed while this message is in the handler: its result finds no store.
        await new Promise<void>(resolve => {
          inHandler = resolve
        })
        return value
      })
      for (let i = 1; i <= 40; i++) await bench.publish('in/a', String(i))
      await bench.until(() => inHandler !== undefined)
      await bench.store[Symbol.asyncDispose]()
      inHandler!()
      await new Promise(resolve => setImmediate(resolve))
    }
    await using bench = await countingBench(dir.path, { disk: true })
    await bench.quiet()
    t.equal(await bench.state('count', 'count'), 40)
    t.equal(runs.get('30'), 1, 'the message was in the handler when the store closed')
  },
)

t.test('outputs over a restart: each input has one output record, in order', async t => {
  await using dir = await folder()
  await writeFunction(dir.path, 'sink', 'triggers:\n  - topic: out/#\n')
  for (let round = 0; round < 3; round++) {
    const sandbox = new FakeSandbox()
    sandbox.handlers.set('sink', async context => {
      const seen = ((await context.get('seen')) as number[] | undefined) ?? []
      context.set('seen', [...seen, Number(context.item.payload)])
    })
    await using bench = await countingBench(dir.path, { disk: true, sandbox })
    for (let i = 0; i < 50; i++) await bench.publish('in/a', 'x')
    if (round < 2) continue
    await bench.quiet()
    t.same(
      await bench.state('sink', 'seen'),
      Array.from({ length: 150 }, (_, i) => i + 1),
    )
  }
})

t.test('an edit switches the revision in one batch; queued records run under the new one', async t => {
  await using dir = await folder()
  await using bench = await countingBench(dir.path)
  const seen: { payload: string; revision: string }[] = []
  const gate = Promise.withResolvers<void>()
  bench.sandbox.handlers.set('count', async context => {
    if (seen.length === 0) await gate.promise
    seen.push({ payload: context.item.payload.toString(), revision: context.spec.revision })
  })
  const first = bench.row('count')?.revision
  await bench.publish('in/a', '1')
  await bench.publish('in/a', '2')
  await writeFunction(dir.path, 'count', counter, 'export const handler = () => 2\n')
  await bench.invoker.rescan()
  const second = bench.row('count')?.revision
  t.not(second, first)
  gate.resolve()
  await bench.until(() => seen.length === 2)
  t.same(seen, [
    { payload: '1', revision: first },
    { payload: '2', revision: second },
  ])
})

t.test('watched: an edit is applied once it has settled, also after an atomic save', async t => {
  await using dir = await folder()
  await using bench = await countingBench(dir.path, { invoker: { watch: true } })
  const changes: string[] = []
  let noticed = Promise.withResolvers<void>()
  bench.invoker.observers.onChange(({ change }) => {
    changes.push(change)
    noticed.resolve()
  })
  const { rename, writeFile } = await import('node:fs/promises')
  const path = join(dir.path, 'functions', 'count', 'index.ts')
  for (const n of [1, 2, 3]) {
    noticed = Promise.withResolvers<void>()
    await writeFile(`${path}.tmp~`, `export const handler = () => ${n}\n`)
    await rename(`${path}.tmp~`, path)
    await noticed.promise
  }
  t.same(changes, ['switched', 'switched', 'switched'])
  noticed = Promise.withResolvers<void>()
  await writeFunction(dir.path, 'another', 'triggers: []\n')
  await noticed.promise
  t.match(bench.row('another'), { condition: 'running' }, 'a new folder is seen')
})

t.test(
  'a function that does not compile keeps its last good revision and says why, with place and code frame',
  async t => {
    await using dir = await folder()
    await using bench = await countingBench(dir.path)
    const good = bench.row('count')?.revision
    await writeFunction(dir.path, 'count', counter, 'export const handler = () => {\n  const x = = 1\n}\n')
    await bench.invoker.rescan()
    const row = bench.row('count')
    t.equal(row?.revision, good)
    t.equal(row?.condition, 'running')
    t.equal(row?.problem?.code, 'FESCUE_BUNDLE_FAILED')
    t.match(
      row?.problem?.message,
      /^functions\/count\/index\.ts:2:13: Unexpected "="\n.*\n> 2 \| {3}const x = = 1\n {4}\| {13}\^/,
    )
    await bench.publish('in/a', '1')
    await bench.until(() => bench.row('count')?.invocations.success === 1)
    await writeFunction(dir.path, 'count', 'triggers:\n  - topc: in/#\n')
    await bench.invoker.rescan()
    t.match(bench.row('count')?.problem, {
      code: 'FESCUE_MANIFEST_INVALID',
      message: /function\.yaml:2:5: unknown key triggers\[0\]\.topc: did you mean triggers\[0\]\.topic\?/,
    })
    await writeFunction(dir.path, 'count', counter)
    await bench.invoker.rescan()
    t.equal(bench.row('count')?.problem, undefined)
  },
)

t.test('a folder that never built is shown as unavailable, and a call says why', async t => {
  await using dir = await folder()
  await writeFunction(dir.path, 'bad', 'timeout: 1h\n')
  await using bench = await InvokerBench.open({ path: dir.path })
  t.match(bench.row('bad'), { condition: 'unavailable', problem: { code: 'FESCUE_MANIFEST_INVALID' } })
  await t.rejects(bench.invoker.invoke('bad', Buffer.from('1')), { code: 'FESCUE_FUNCTION_UNAVAILABLE' })
  await t.rejects(bench.invoker.invoke('bda', Buffer.from('1')), {
    code: 'FESCUE_NOT_FOUND',
    message: /did you mean "bad"/,
  })
})

t.test('functions run when folder and esbuild are gone: revisions are in the store', async t => {
  await using dir = await folder()
  {
    await using bench = await countingBench(dir.path, { disk: true })
    t.equal(bench.row('count')?.condition, 'running')
  }
  const { rm } = await import('node:fs/promises')
  const sandbox = new FakeSandbox()
  sandbox.handlers.set('count', context => context.set('count', 7))
  await rm(join(dir.path, 'functions'), { recursive: true })
  await rm(join(dir.path, 'bundles'), { recursive: true })
  const loadEsbuild = () => Promise.reject(new Error('not installed'))
  await using bench = await InvokerBench.open({
    path: dir.path,
    disk: true,
    sandbox,
    invoker: { loadEsbuild, functionsFolder: join(dir.path, 'nowhere') },
  })
  t.match(bench.invoker.folderError, /ENOENT/)
  await bench.publish('in/a', '1')
  await bench.until(() => bench.row('count')?.invocations.success === 1)
  t.equal(await bench.state('count', 'count'), 7)
})

t.test('a device without esbuild runs what was built before, from the cache', async t => {
  await using dir = await folder()
  await writeFunction(dir.path, 'count', counter)
  {
    await using bench = await InvokerBench.open({ path: dir.path })
    t.equal(bench.row('count')?.condition, 'running')
  }
  const loadEsbuild = () => Promise.reject(new Error('not installed'))
  await writeFunction(dir.path, 'fresh', 'triggers: []\n')
  await using bench = await InvokerBench.open({ path: dir.path, invoker: { loadEsbuild } })
  t.equal(bench.row('count')?.condition, 'running')
  t.match(bench.row('fresh'), { condition: 'unavailable', problem: { code: 'FESCUE_BUNDLER_MISSING' } })
})

t.test(
  'a folder that vanishes detaches: no new records, inbox and state kept; the same name reattaches',
  async t => {
    await using dir = await folder()
    await using bench = await countingBench(dir.path)
    await bench.publish('in/a', '1')
    await bench.quiet()
    const gate = Promise.withResolvers<void>()
    bench.sandbox.handlers.set('count', async context => {
      await gate.promise
      return counting(context)
    })
    await bench.publish('in/a', '2')
    await bench.publish('in/a', '3')
    await removeFunctionFolder(dir.path, 'count')
    const detached = bench.invoker.rescan()
    await bench.until(
      () => bench.row('count')?.condition === undefined || bench.router.consumersOf('in/a').length === 0,
    )
    gate.resolve()
    await detached
    await bench.publish('in/a', 'lost to it')
    t.match(bench.row('count'), { condition: 'detached', reason: /folder is gone/ })
    t.equal(bench.router.consumersOf('in/a').length, 0)
    t.equal(await bench.state('count', 'count'), 2, 'the batch in hand was finished')
    t.equal(bench.row('count')?.inbox.records, 1)
    await t.rejects(bench.invoker.invoke('count', Buffer.from('1')), { code: 'FESCUE_FUNCTION_UNAVAILABLE' })
    await writeFunction(dir.path, 'count', counter)
    await bench.invoker.rescan()
    await bench.publish('in/a', '4')
    await bench.quiet()
    t.equal(
      await bench.state('count', 'count'),
      4,
      'what waited and what is new, and nothing of the time between',
    )
  },
)

t.test('purge deletes what a detached function left and writes the ledger', async t => {
  await using dir = await folder()
  await using bench = await countingBench(dir.path)
  bench.sandbox.handlers.set('count', context => {
    if (context.item.payload.toString() === 'bad') throw new Error('no')
    context.set('count', 1)
  })
  await bench.publish('in/a', '1')
  await bench.publish('in/a', 'bad')
  await bench.until(() => bench.row('count')?.deadLetters === 1)
  await t.rejects(bench.invoker.purge('count'), { code: 'FESCUE_CONFLICT' })
  await removeFunctionFolder(dir.path, 'count')
  await bench.invoker.rescan()
  t.equal(await bench.invoker.purge('count'), 1)
  t.equal(bench.row('count'), undefined)
  t.equal(await bench.state('count', 'count'), undefined)
  t.equal(bench.store.findLog('inbox.count'), undefined)
  t.equal(bench.store.findLog('dead.count'), undefined)
  await bench.store.sync()
  const ledger = (await bench.records('ledger')).map(({ payload }) => JSON.parse(payload.toString()))
  t.match(ledger, [{ log: 'dead.count', records: 1, reason: 'purged' }])
  await t.rejects(bench.invoker.purge('count'), { code: 'FESCUE_NOT_FOUND' })
})

t.test('what was detached for 7 days is purged at a start', async t => {
  await using dir = await folder()
  {
    await using bench = await countingBench(dir.path, { disk: true })
    await removeFunctionFolder(dir.path, 'count')
    await bench.invoker.rescan()
    t.equal(bench.row('count')?.condition, 'detached')
  }
  const late = Date.now() + 8 * 24 * 3_600_000
  const { systemClock } = await import('#base/clock.ts')
  await using bench = await InvokerBench.open({
    path: dir.path,
    disk: true,
    clock: { ...systemClock, now: () => late },
  })
  await bench.until(
    () => bench.row('count') === undefined && bench.store.findLog('inbox.count') === undefined,
  )
  t.pass('row and inbox are gone')
})

t.test(
  'retained values are given once when a filter is first added, flagged; live messages are not flagged',
  async t => {
    await using dir = await folder()
    await writeFunction(dir.path, 'count', 'triggers:\n  - topic: in/#\n')
    await using bench = await InvokerBench.open({ path: dir.path })
    const seen: string[] = []
    bench.sandbox.handlers.set(
      'count',
      ({ item }) => void seen.push(`${item.topic} ${item.payload} ${item.retain}`),
    )
    await bench.publish('in/a', 'live', { retain: true })
    await bench.publish('other/a', 'old', { retain: true })
    await bench.publish('third/a', 'old', { retain: true })
    const wider = 'triggers:\n  - topic: in/#\n  - topic: other/#\n  - topic: third/#\n    retained: false\n'
    await writeFunction(dir.path, 'count', wider)
    await bench.invoker.rescan()
    await bench.until(() => seen.length === 2)
    await writeFunction(dir.path, 'count', `description: again\n${wider}`)
    await bench.invoker.rescan()
    await bench.publish('in/b', 'last')
    await bench.until(() => seen.length >= 3)
    t.same(seen, ['in/a live false', 'other/a old true', 'in/b last false'])
  },
)

t.test('invoke: the outcome comes once it is committed; a failure is told and not tried again', async t => {
  await using dir = await folder()
  await using bench = await countingBench(dir.path)
  const outcome = await bench.invoker.invoke('count', Buffer.from('{}'))
  t.match(outcome, { kind: 'ok', value: '1', published: 1, invocationId: /^[0-9a-f-]{36}$/ })
  t.equal(await bench.state('count', 'count'), 1)
  let runs = 0
  bench.sandbox.handlers.set('count', () => {
    runs += 1
    throw new TypeError('no celsius')
  })
  t.match(await bench.invoker.invoke('count', Buffer.from('{}')), {
    kind: 'failed',
    error: { errorType: 'TypeError', errorMessage: 'no celsius' },
  })
  t.equal(runs, 1)
  t.match(bench.row('count'), { deadLetters: 0, inbox: { records: 0 } })
  await t.rejects(bench.invoker.invoke('count', Buffer.from('{}'), { topic: 'a/#' }), {
    code: 'FESCUE_TOPIC_INVALID',
  })
  bench.sandbox.handlers.set('count', () => new Promise(() => {}))
  await t.rejects(bench.invoker.invoke('count', Buffer.from('{}'), { timeoutMs: 20 }), {
    code: 'FESCUE_FUNCTION_TIMEOUT',
  })
})

t.test('drain finishes the batch in hand within the grace, commits it and takes no more', async t => {
  await using dir = await folder()
  const gate = Promise.withResolvers<void>()
  let started = 0
  {
    await using bench = await countingBench(dir.path, { disk: true })
    bench.sandbox.handlers.set('count', async context => {
      started += 1
      await gate.promise
      return counting(context)
    })
    await bench.publish('in/a', '1')
    await bench.until(() => started === 1)
    await bench.publish('in/a', '2')
    const drained = bench.invoker.drain(5_000)
    gate.resolve()
    await drained
    t.equal(started, 1)
    t.equal(await bench.state('count', 'count'), 1)
    await bench.invoker.drain(1)
  }
  await using bench = await countingBench(dir.path, { disk: true })
  await bench.quiet()
  t.equal(await bench.state('count', 'count'), 2)
})

t.test(
  'update: another folder and other bounds, at once; what is not in the new folder detaches',
  async t => {
    await using dir = await folder()
    await using other = await folder()
    await using bench = await countingBench(dir.path)
    await writeFunction(other.path, 'second', 'triggers:\n  - topic: in/+\n')
    await bench.invoker.update({
      functionsFolder: functionsOf(other.path),
      inboxMaxBytes: 2 ** 20,
      deadLettersMaxBytes: 2 ** 21,
    })
    t.equal(bench.row('count')?.condition, 'detached')
    t.equal(bench.row('second')?.condition, 'running')
    t.equal(bench.store.findLog('inbox.second')?.limits.maxBytes, 2 ** 20)
    t.equal(bench.store.findLog('dead.second')?.limits.maxBytes, 2 ** 21)
    t.equal(bench.store.findLog('dead.count')?.limits.maxBytes, 2 ** 21)
    await bench.invoker.update({
      functionsFolder: functionsOf(dir.path),
      inboxMaxBytes: 2 ** 22,
      deadLettersMaxBytes: 2 ** 21,
    })
    t.equal(bench.row('count')?.condition, 'running', 'the same name attaches again')
    t.equal(bench.store.findLog('inbox.count')?.limits.maxBytes, 2 ** 22)
  },
)
