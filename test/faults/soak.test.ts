/** The soak of hours, for half a minute: rounds are judged one by one, and what it saves can be read. */
import t from 'tap'
import { hoursRun } from '../../bench/soak-hours.ts'
import { slopePerHour } from '../../bench/soak-samples.ts'
import { seededRandom } from '../harness/random.ts'

t.setTimeout(170_000)

t.test('a soak goes on over rounds, and each is judged', async t => {
  const random = seededRandom()
  t.comment(`SEED=${random.seed}`)
  const said: string[] = []
  let saved = 0
  const { plot, ...report } = await hoursRun({
    random,
    say: line => said.push(line),
    ratePerSecond: 100,
    hours: 20 / 3600,
    // Many cuts in a short time put the next try up to a minute away.
    drainWaitMs: 100_000,
    roundMinutes: 1 / 6,
    faultEveryMs: { all: [500, 1500], far: [500, 1500] },
    save: async () => {
      saved += 1
    },
  })
  t.same(report.violations, [], said.join('\n'))
  t.ok(report.rounds.length >= 2 && saved === report.rounds.length, `${report.rounds.length} rounds`)
  t.ok(report.side.clients > 10 && report.admitted > 500)
  t.equal(report.admitted, report.sent)
  t.match(plot, /^<svg [\s\S]*<\/svg>\n$/)
})

t.test('growth is that of the last life of the daemon, after its warm-up', async t => {
  const sample = (at: number, daemon: number, daemonMb: number) => ({
    at,
    daemon,
    daemonMb,
    executorMb: 0,
    endpointMb: 0,
    openFiles: 0,
    dataFiles: 0,
    dataMb: 0,
    loopDelayMs: 0,
    waiting: 0,
  })
  const samples = [
    ...Array.from({ length: 20 }, (_, n) => sample(n * 60, 1, 10 * n)),
    ...Array.from({ length: 20 }, (_, n) => sample(1200 + n * 60, 2, n < 5 ? 50 * n : 200 + n / 60)),
  ]
  t.equal(slopePerHour(samples, 'daemonMb', 300), 1)
  t.equal(slopePerHour(samples.slice(0, 22), 'daemonMb', 300), undefined, 'too short to tell')
})
