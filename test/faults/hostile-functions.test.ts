/**
 * Functions that attack the sandbox: each gets a clear outcome within its deadline, and its neighbour in the same
 * executor works on (D5, D6).
 */
import t from 'tap'
import type { BatchEnd } from '#sandbox/sandbox.ts'
import { createSandbox } from '#sandbox/supervisor.ts'
import { itemOf, runBatch, specOf } from '../fakes/sandbox-rig.ts'
import { type Attack, attacks } from '../harness/attacks.ts'

const timeoutMs = 300
/** For an attack that ends by itself, on a box too busy to see it end within `timeoutMs`. */
const patientTimeoutMs = 5000
/** Beyond a deadline: the grace, starting an executor, two looks at its clock, and a busy box. */
const slackMs = 10_000

const textOf = (end: BatchEnd): string =>
  'error' in end ? `${end.error.errorType}: ${end.error.errorMessage}` : end.kind

function codeOf(attack: Attack): string {
  return `const { publish, state } = require('fescue'); ${attack.before ?? ''}
    exports.handler = async event => { if (event.attack) { ${attack.body} } else return 'fine' }`
}

t.test('every attack has its outcome, and the neighbour works on', async t => {
  await using sandbox = createSandbox()
  sandbox.load(specOf('neighbour', `exports.handler = async event => event.n * 2`))
  const neighbourPid = () => sandbox.stats().find(each => each.name === 'neighbour')?.executorPid
  for (const [n, attack] of attacks.entries()) {
    await t.test(attack.name, async t => {
      const name = `hostile-${n}`
      sandbox.load(specOf(name, codeOf(attack), { timeoutMs }))
      t.equal((await runBatch(sandbox, 'neighbour', [itemOf(1, { n: 1 })])).end.kind, 'done')
      const pid = neighbourPid()
      const items = [itemOf(1, { attack: false }), itemOf(2, { attack: true }), itemOf(3, { attack: false })]

      let limitMs = timeoutMs
      let ran = await runBatch(sandbox, name, items)
      if (ran.end.kind === 'timeout' && !attack.outcomes.includes('timeout')) {
        limitMs = patientTimeoutMs
        sandbox.load(specOf(name, codeOf(attack), { timeoutMs: limitMs }))
        ran = await runBatch(sandbox, name, items)
      }
      const { end, results, elapsedMs } = ran
      t.comment(`${textOf(end).slice(0, 160)} after ${Math.round(elapsedMs)} ms`)
      t.ok(attack.outcomes.includes(end.kind), `ends as ${attack.outcomes.join(' or ')}: ${end.kind}`)
      if (attack.says !== undefined) t.match(textOf(end), attack.says)
      t.ok(elapsedMs < limitMs + slackMs, `deadline ${limitMs} ms: ${Math.round(elapsedMs)}`)
      if ((end.kind === 'failed' || end.kind === 'timeout') && attack.spoils !== true) {
        t.equal(end.index, 1, 'the attack is charged')
        t.equal(results.get(0)?.value, '"fine"', 'what finished before it counts')
      }

      const after = await runBatch(sandbox, 'neighbour', [itemOf(2, { n: 21 })])
      t.equal(after.results.get(0)?.value, '42', 'the neighbour works')
      if (neighbourPid() !== pid && pid !== undefined)
        t.throws(() => process.kill(pid, 0), 'the executor that was replaced is gone')
      sandbox.unload(name)
    })
  }
})
