/** The harness can go red: builds with one promise broken on purpose must fail it. */
import { join } from 'node:path'
import t from 'tap'
import type { Canary } from '../harness/canary.ts'
import { type KillRunOptions, killRun } from '../harness/kill-run.ts'
import { seededRandom } from '../harness/random.ts'

t.setTimeout(170_000)

const hook = join(import.meta.dirname, '../harness/canary.ts')

const acknowledgesEarly: Canary = {
  file: 'src/broker/admission.ts',
  text: 'this.#deps.store.commit(tx, error => this.#committed(acks, error))',
  replacement: 'this.#committed(acks, undefined); setTimeout(() => this.#deps.store.commit(tx), 40)',
}

const checkpointApart: Canary = {
  file: 'src/invoker/outcomes.ts',
  text: `tx.checkpoint(log, inboxConsumer, checkpoint.state())
    if (checkpoint.low > this.#truncatedTo) {`,
  replacement: `const apart = new Transaction().require('process')
    apart.checkpoint(log, inboxConsumer, checkpoint.state())
    setTimeout(() => store.commit(apart), 40)
    if (log.name === '') {`,
}

/** Kills until the judge has found what is broken: a few rounds at most. */
async function violationsOf(canary: Canary, more: Partial<KillRunOptions>): Promise<readonly string[]> {
  const random = seededRandom()
  t.comment(`SEED=${random.seed}`)
  const { violations } = await killRun({
    random,
    kills: 5,
    ratePerSecond: 200,
    only: 'daemon',
    daemonNodeArgs: ['--import', hook],
    daemonEnvironment: { CANARY_BUILD: JSON.stringify(canary) },
    ...more,
  })
  t.comment(violations.join('\n'))
  return violations
}

t.test('a build that acknowledges before the commit loses admitted messages', async t => {
  const violations = await violationsOf(acknowledgesEarly, { drainWaitMs: 3_000 })
  t.ok(
    violations.some(line => line.startsWith('admitted, not in the cloud')),
    'the judge sees the loss',
  )
})

t.test('a build that commits the checkpoint apart from the effects doubles them', async t => {
  const violations = await violationsOf(checkpointApart, { drainWaitMs: 3_000 })
  t.ok(
    violations.some(line => line.includes('more than one effect')),
    'the judge sees the doubling',
  )
})
