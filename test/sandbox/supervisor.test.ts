/** Where functions run, when they are loaded and dropped, and that ends come as the contract says. */
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { FescueError } from '#base/errors.ts'
import { type BatchEnd, batchItemsMax, type Sandbox } from '#sandbox/sandbox.ts'
import { createSandbox } from '#sandbox/supervisor.ts'
import { callOnce, itemOf, runBatch, specOf } from '../fakes/sandbox-rig.ts'
import { executorsOf } from '../harness/processes.ts'

const good = `let n = 0; exports.handler = async e => { if (e?.ms) await new Promise(r => setTimeout(r, e.ms)); return ++n }`
const statsOf = (sandbox: Sandbox, name: string) => sandbox.stats().find(each => each.name === name)

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await delay(10)
}

t.test('an isolate that has had nothing to do is dropped, and made again on demand', async t => {
  await using sandbox = createSandbox({ idleMs: 150 })
  sandbox.load(specOf('f', good))
  t.match(statsOf(sandbox, 'f'), { state: 'unloaded', executorPid: undefined, heapBytes: 0 })
  t.equal(await callOnce(sandbox, 'f', {}), 1)
  t.match(statsOf(sandbox, 'f'), { state: 'ready', executorPid: Number, coldStartMs: Number })
  t.ok((statsOf(sandbox, 'f')?.heapBytes ?? 0) > 100_000)
  t.equal(await callOnce(sandbox, 'f', {}), 2)
  await until(() => statsOf(sandbox, 'f')?.state === 'unloaded')
  t.equal(await callOnce(sandbox, 'f', {}), 1, 'a new isolate')
})

t.test('unload brings the batch back; the name is unknown until it is loaded again', async t => {
  await using sandbox = createSandbox()
  sandbox.load(specOf('f', good))
  await callOnce(sandbox, 'f', {})
  const running = runBatch(sandbox, 'f', [itemOf(1, { ms: 5000 })])
  await until(() => statsOf(sandbox, 'f')?.state === 'running')
  sandbox.unload('f')
  t.same((await running).end, { kind: 'returned' })
  t.throws(() => sandbox.run('f', [itemOf(1, {})], {} as never), FescueError)
  sandbox.unload('f')
  sandbox.load(specOf('f', good))
  t.equal(await callOnce(sandbox, 'f', {}), 1)
})

t.test('another spec counts from the next batch on', async t => {
  await using sandbox = createSandbox()
  sandbox.load(specOf('f', good))
  const running = runBatch(sandbox, 'f', [itemOf(1, { ms: 50 }), itemOf(2, {})])
  sandbox.load(specOf('f', `exports.handler = async () => 'new'`))
  const { end, results } = await running
  t.equal(end.kind, 'done')
  t.same(
    [...results.values()].map(each => each.value),
    ['1', '2'],
    'the running batch ends under the old one',
  )
  t.equal(await callOnce(sandbox, 'f', {}), 'new')
})

t.test(
  'a second batch of a function at once is a defect, and so is one that is empty or too large',
  async t => {
    await using sandbox = createSandbox()
    sandbox.load(specOf('f', good))
    const running = runBatch(sandbox, 'f', [itemOf(1, { ms: 20 })])
    t.throws(() => sandbox.run('f', [itemOf(1, {})], {} as never), /has a batch already/)
    await running
    t.throws(() => sandbox.run('f', [], {} as never), FescueError)
    const many = Array.from({ length: batchItemsMax + 1 }, (_, n) => itemOf(n, {}))
    t.throws(() => sandbox.run('f', many, {} as never), FescueError)
  },
)

t.test('the next batch may be started while the end of the last is told', async t => {
  await using sandbox = createSandbox()
  sandbox.load(specOf('f', good))
  await callOnce(sandbox, 'f', {})
  const values: string[] = []
  await new Promise<void>(resolve => {
    const start = (left: number): void =>
      sandbox.run('f', [itemOf(left, {})], {
        result: (_, { value }) => values.push(value),
        ended: () => (left === 0 ? resolve() : start(left - 1)),
        log() {},
        readState: async () => undefined,
      })
    start(20)
  })
  t.same(
    values,
    Array.from({ length: 21 }, (_, n) => `${n + 2}`),
  )
})

t.test('functions share an executor unless the manifest asks for one of its own', async t => {
  await using sandbox = createSandbox()
  for (const name of ['a', 'b']) sandbox.load(specOf(name, good))
  sandbox.load(specOf('own', good, { isolation: 'process' }))
  await Promise.all(['a', 'b', 'own'].map(name => callOnce(sandbox, name, {})))
  const [a, b, own] = sandbox.stats().map(each => each.executorPid)
  t.equal(a, b)
  t.not(a, own)
  sandbox.unload('own')
  await until(() => !isAlive(own ?? 0))
  t.pass('an executor of its own ends with its function')
  t.ok(isAlive(a ?? 0))
})

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

t.test('D7: disposing ends the processes at once, and batches come back', async t => {
  const sandbox = createSandbox()
  for (const name of ['a', 'b'])
    sandbox.load(specOf(name, good, { isolation: name === 'b' ? 'process' : 'shared' }))
  await Promise.all(['a', 'b'].map(name => callOnce(sandbox, name, {})))
  const pids = sandbox.stats().map(each => each.executorPid ?? 0)
  const ends: Promise<BatchEnd>[] = ['a', 'b'].map(
    async name => (await runBatch(sandbox, name, [itemOf(1, { ms: 9000 })])).end,
  )
  await delay(30)
  const startedAt = performance.now()
  await sandbox[Symbol.asyncDispose]()
  await sandbox[Symbol.asyncDispose]()
  t.ok(performance.now() - startedAt < 1000)
  t.same(await Promise.all(ends), [{ kind: 'returned' }, { kind: 'returned' }])
  for (const pid of pids) t.notOk(isAlive(pid))
})

t.test('disposing before the executor has started ends it too', async t => {
  const sandbox = createSandbox()
  sandbox.load(specOf('a', good))
  const running = runBatch(sandbox, 'a', [itemOf(1, {})])
  await delay(1)
  await sandbox[Symbol.asyncDispose]()
  t.same((await running).end, { kind: 'returned' })
})

t.test('executors that functions share can be there before the first call', async t => {
  await using sandbox = createSandbox()
  sandbox.prepare()
  t.same(executorsOf(process.pid), [], 'none without functions')
  sandbox.load(specOf('a', good))
  sandbox.load(specOf('b', good))
  sandbox.load(specOf('alone', good, { isolation: 'process' }))
  sandbox.prepare()
  const [pid, ...more] = executorsOf(process.pid)
  t.ok(pid !== undefined && more.length === 0, 'one for a and b, none for the one that wants its own')
  t.equal((await runBatch(sandbox, 'a', [itemOf(0, {})])).end.kind, 'done')
  t.equal(sandbox.stats()[0]?.executorPid, pid)
  t.equal(executorsOf(process.pid).length, 1)
})

t.test('an executor that has grown is replaced between runs, and nobody is charged', async t => {
  // Above half of the headroom, below the fence.
  await using sandbox = createSandbox({ readResident: () => 150 * 1024 * 1024 })
  sandbox.load(specOf('a', good))
  const pids = new Set<number | undefined>()
  for (let n = 0; n < 6; n++) {
    const { end } = await runBatch(sandbox, 'a', [itemOf(n, {})])
    t.same(end, { kind: 'done' }, 'a batch that meets the change waits for the next executor')
    pids.add(sandbox.stats()[0]?.executorPid)
  }
  pids.delete(undefined)
  t.ok(pids.size > 1, `${pids.size} executors`)
  t.equal(sandbox.stats()[0]?.reason, undefined)
})

t.test('an executor has no environment, no files and no core dumps, and dies with its parent', async t => {
  await using sandbox = createSandbox()
  sandbox.load(specOf('a', good))
  await callOnce(sandbox, 'a', {})
  const pid = sandbox.stats()[0]?.executorPid
  t.equal(readFileSync(`/proc/${pid}/environ`, 'latin1'), 'TZ=UTC\0')
  const limits = readFileSync(`/proc/${pid}/limits`, 'latin1')
  t.match(limits, /Max core file size +0 +0/)
  t.match(limits, /Max file size +0 +0/)
  t.match(limits, /Max open files +64 +64/)
  const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0')
  t.ok(command.includes('--permission') && command.includes('--no-node-snapshot'))
  t.match(readFileSync(`/proc/${pid}/status`, 'latin1'), /NoNewPrivs:\t1/)
})

t.test('a full batch of large payloads goes through in pieces', async t => {
  await using sandbox = createSandbox()
  sandbox.load(
    specOf('sizes', `exports.handler = async e => e.length`, { payload: 'binary', timeoutMs: 10_000 }),
  )
  const items = Array.from({ length: 100 }, (_, n) => itemOf(n, Buffer.alloc(100_000 + n, n)))
  const { end, results } = await runBatch(sandbox, 'sizes', items)
  t.equal(end.kind, 'done')
  t.same(
    [...results.values()].map(each => Number(each.value)),
    items.map(each => each.payload.length),
  )
})

t.test('one payload as large as a frame may be goes through; a larger one fails by itself', async t => {
  await using sandbox = createSandbox()
  sandbox.load(
    specOf('sizes', `exports.handler = async e => e.length`, {
      payload: 'binary',
      timeoutMs: 10_000,
      memoryMiB: 128,
    }),
  )
  const { end, results } = await runBatch(sandbox, 'sizes', [
    itemOf(0, Buffer.alloc(6_000_000)),
    itemOf(1, Buffer.alloc(20_000_000)),
    itemOf(2, Buffer.alloc(1)),
  ])
  t.match(end, { kind: 'failed', index: 1, error: { errorType: 'Function.RequestSizeTooLarge' } })
  t.same([...results.keys()], [0])
})

t.test('idle functions cost no further look: nothing is polled when nothing runs', async t => {
  await using sandbox = createSandbox()
  sandbox.load(specOf('a', good))
  await callOnce(sandbox, 'a', {})
  await delay(100)
  const pid = sandbox.stats()[0]?.executorPid
  const cpu = () => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
    return Number(fields[11]) + Number(fields[12])
  }
  const before = cpu()
  await delay(400)
  t.ok(cpu() - before <= 1, 'the executor sleeps')
})
