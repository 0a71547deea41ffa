/**
 * `npm run soak`: the fault run of the tests, long. Kills daemon, executor and endpoint at random instants
 * and cuts the link in between, then judges. Options: --kills N (1000) --cuts N (200) --rate N --json FILE.
 * Prints its seed; `SEED=… npm run soak` repeats the choices. Ends with exit code 1 when the promise broke.
 */
import { execFileSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { killRun } from '../test/harness/kill-run.ts'
import { seededRandom } from '../test/harness/random.ts'

const { values: flags } = parseArgs({
  options: {
    kills: { type: 'string', default: '1000' },
    cuts: { type: 'string', default: '200' },
    rate: { type: 'string', default: '60' },
    json: { type: 'string' },
  },
})

const random = seededRandom()
const startedAt = Date.now()
const say = (line: string) => console.log(`${Math.round((Date.now() - startedAt) / 1000)} s: ${line}`)
say(`SEED=${random.seed}`)
const report = await killRun({
  random,
  say,
  kills: Number(flags.kills),
  linkCuts: Number(flags.cuts),
  ratePerSecond: Number(flags.rate),
  offlineVisitEvery: 20,
  // What the functions could not do between kills is done afterwards, however long that takes.
  drainWaitMs: 900_000,
})
say(JSON.stringify(report, null, 2))
if (flags.json !== undefined) {
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
  const machine = { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version }
  const seconds = Math.round((Date.now() - startedAt) / 1000)
  await writeFile(
    flags.json,
    `${JSON.stringify({ date: new Date(startedAt).toISOString(), commit, seconds, machine, ...report }, null, 2)}\n`,
  )
}
process.exitCode = report.violations.length === 0 ? 0 : 1
