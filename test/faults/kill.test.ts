/**
 * The promise under SIGKILL: the real daemon, executor and endpoint as processes, killed at random instants
 * under load. `npm run soak` does the same a thousand times.
 */
import t from 'tap'
import { killRun } from '../harness/kill-run.ts'
import { seededRandom } from '../harness/random.ts'

t.setTimeout(170_000)

t.test('D1 D2 D3: 20 kills at random instants lose nothing and double nothing', async t => {
  const random = seededRandom()
  t.comment(`SEED=${random.seed}`)
  const { violations, ...report } = await killRun({
    random,
    kills: 20,
    ratePerSecond: 250,
    offlineVisitEvery: 7,
  })
  t.comment(JSON.stringify(report))
  t.same(violations, [])
  t.ok(report.admitted > 500, `${report.admitted} messages admitted`)
  t.ok(report.deadLetters > 10, 'throwing and looping records became dead letters')
  t.equal(report.admitted, report.sent)
})
