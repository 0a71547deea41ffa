import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { silentLogger } from '#base/logger.ts'
import { dataHeadroomBytes, MemoryFence, readDataBytes, readResidentBytes } from '#sandbox/memory-fence.ts'
import { createSandbox } from '#sandbox/supervisor.ts'
import { callOnce, itemOf, runBatch, specOf } from '../fakes/sandbox-rig.ts'

const softLimit = (pid: number): number => {
  const match = /Max data size +(\d+)/.exec(readFileSync(`/proc/${pid}/limits`, 'latin1'))
  return Number(match?.[1] ?? Number.NaN)
}

t.test('the soft limit is lifted for a creation and lowered to what is there plus headroom', async t => {
  const child = spawn('/bin/cat')
  // Once it answers, it has all the memory that it will ever have.
  child.stdin.write('x')
  await once(child.stdout, 'data')
  const pid = child.pid ?? 0
  const fence = new MemoryFence(silentLogger)
  t.equal(await fence.lift(pid), true)
  const lifted = softLimit(pid)
  t.equal(await fence.lower(pid), true)
  const lowered = softLimit(pid)
  const data = readDataBytes(pid) ?? 0
  t.equal(lowered, data + dataHeadroomBytes)
  t.ok(lifted > lowered + 500 * 1024 * 1024)
  t.same(
    await Promise.all([fence.lift(pid), fence.lower(pid), fence.lift(pid)]),
    [true, true, true],
    'in order',
  )
  t.equal(softLimit(pid), lifted)
  child.kill('SIGKILL')
  await once(child, 'exit')
  t.equal(await fence.lift(pid), false, 'a process that is gone has none')
  fence.close()
  t.equal(await fence.lift(process.pid), false)
})

t.test('sizes of a process that is gone are unknown', async t => {
  t.equal(readDataBytes(2 ** 22 + 1), undefined)
  t.equal(readResidentBytes(2 ** 22 + 1), undefined)
  t.ok((readResidentBytes(process.pid) ?? 0) > 10_000_000)
})

t.test('an executor stands under its limit while functions run, also after several isolates', async t => {
  await using sandbox = createSandbox()
  for (let n = 0; n < 6; n++) {
    sandbox.load(specOf(`f${n}`, `exports.handler = async () => ${n}`))
    t.equal(await callOnce(sandbox, `f${n}`, {}), n, `isolate ${n} could be created`)
  }
  const pid = sandbox.stats()[0]?.executorPid ?? 0
  const limited = () => {
    const limit = softLimit(pid)
    return limit <= (readDataBytes(pid) ?? 0) + dataHeadroomBytes + 64 * 1024 * 1024
  }
  while (!limited()) await new Promise(resolve => setTimeout(resolve, 10))
  t.pass('and the limit follows')
})

t.test(
  'native memory that V8 does not count ends in an error or a kill, not in the box’s memory',
  async t => {
    await using sandbox = createSandbox()
    const bomb = `exports.handler = async () => { const all = []; for (let i = 0; i < 64; i++) { const b = new ArrayBuffer(0, { maxByteLength: 1 << 24 }); b.resize(1 << 24); new Uint8Array(b).fill(1); all.push(b) } return all.length }`
    sandbox.load(specOf('bomb', bomb, { timeoutMs: 5000 }))
    await runBatch(sandbox, 'bomb', [itemOf(0, {})])
    let most = 0
    const watch = setInterval(() => {
      const pid = sandbox.stats()[0]?.executorPid
      if (pid !== undefined) most = Math.max(most, readResidentBytes(pid) ?? 0)
    }, 5)
    const { end } = await runBatch(sandbox, 'bomb', [itemOf(1, {})])
    clearInterval(watch)
    t.ok(end.kind === 'failed' || end.kind === 'killed', end.kind)
    t.ok(most < 450 * 1024 * 1024, `${Math.round(most / 1_048_576)} MiB of 1,024 asked for`)
  },
)
