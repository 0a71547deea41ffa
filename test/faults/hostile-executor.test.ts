/** D5: the daemon trusts nothing that an executor says; one that lies is killed, and its batch has an end. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { createSandbox } from '#sandbox/supervisor.ts'
import { itemOf, runBatch, specOf } from '../fakes/sandbox-rig.ts'

const entry = fileURLToPath(new URL('../fakes/hostile-executor.mjs', import.meta.url))
const names = [...readFileSync(entry, 'utf8').matchAll(/^ {2}(?:'([^']+)'|(silence)): (?:\(|id )/gm)].map(
  match => match[1] ?? match[2] ?? '',
)
/** These are caught by the clock alone. */
const byTheClock = ['silence', 'a progress that keeps it alive for ever']

t.equal(names.length, 17)
for (const attack of names)
  t.test(`an executor answers with ${attack}`, async t => {
    await using sandbox = createSandbox({
      files: { program: { kind: 'file', path: entry }, native: attack, guest: '', buffer: '' },
      startTimeoutMs: byTheClock.includes(attack) ? 800 : 20_000,
    })
    sandbox.load(specOf('f', '', { timeoutMs: 300 }))
    const running = runBatch(sandbox, 'f', [itemOf(0, {}), itemOf(1, {})])
    let pid: number | undefined
    while (pid === undefined) {
      pid = sandbox.stats()[0]?.executorPid
      await new Promise(resolve => setImmediate(resolve))
    }
    const { end, elapsedMs } = await running
    t.ok(end.kind === 'killed' || end.kind === 'timeout', end.kind)
    t.ok(elapsedMs < 8000, `${Math.round(elapsedMs)} ms`)
    t.throws(() => process.kill(pid, 0), 'it is gone')
  })
