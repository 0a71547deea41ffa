/**
 * `npm run soak`: the fault run of the tests, long. Two forms:
 *
 *  --kills N (1000) --cuts N (200): as many kills and cut links as fast as they go, then the verdict;
 *  --hours N: mixed load in rounds of ten minutes, each judged. In the first quarter daemon, executor and endpoint
 *      are killed; then the daemon lives on while executor, endpoint and link still fail, so that what it holds
 *      can be seen over hours. Memory, files and event-loop delay go to FILE, and as a plot to FILE with .svg.
 *      Then the packet fuzzer attacks a daemon of its own for --fuzz-minutes N (10).
 *
 * Also --rate N and --json FILE. Prints its seed; `SEED=… npm run soak` repeats the choices. Ends with exit code 1
 * when the promise broke, or when in an hour or more the daemon's memory rose by over 1 MiB an hour.
 */
import { execFileSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { fuzzRun } from '../test/harness/fuzz-run.ts'
import { killRun } from '../test/harness/kill-run.ts'
import { seededRandom } from '../test/harness/random.ts'
import { hoursRun } from './soak-hours.ts'

const { values: flags } = parseArgs({
  options: {
    hours: { type: 'string' },
    'round-minutes': { type: 'string', default: '10' },
    'fuzz-minutes': { type: 'string', default: '10' },
    kills: { type: 'string', default: '1000' },
    cuts: { type: 'string', default: '200' },
    rate: { type: 'string', default: '60' },
    json: { type: 'string' },
  },
})

const random = seededRandom()
const startedAt = Date.now()
const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
const say = (line: string) => console.log(`${Math.round((Date.now() - startedAt) / 1000)} s: ${line}`)
say(`SEED=${random.seed}`)

const common = {
  random,
  say,
  ratePerSecond: Number(flags.rate),
  // What the functions could not do between kills is done afterwards, however long that takes.
  drainWaitMs: 900_000,
}
const { plot, ...report } = flags.hours === undefined ? await kills() : await hours(Number(flags.hours))
const { samples: _, ...shown } = { samples: undefined, ...report }
say(JSON.stringify(shown, null, 2))
if (flags.json !== undefined) await save(flags.json, report, plot)
process.exitCode = report.violations.length === 0 ? 0 : 1

async function kills() {
  const options = { kills: Number(flags.kills), linkCuts: Number(flags.cuts), offlineVisitEvery: 20 }
  return { ...(await killRun({ ...common, ...options })), plot: undefined }
}

async function hours(hours: number) {
  const load = await hoursRun({
    ...common,
    hours,
    roundMinutes: Number(flags['round-minutes']),
    save: flags.json === undefined ? async () => {} : (part, svg) => save(flags.json ?? '', part, svg),
  })
  const minutes = Number(flags['fuzz-minutes'])
  const fuzz = minutes === 0 ? undefined : await fuzzRun({ random, say, minutes })
  return { ...load, fuzz, violations: [...load.violations, ...(fuzz?.violations ?? [])] }
}

async function save(path: string, part: object, svg: string | undefined): Promise<void> {
  const machine = { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version }
  const seconds = Math.round((Date.now() - startedAt) / 1000)
  const head = { date: new Date(startedAt).toISOString(), commit, seconds, machine }
  await writeFile(path, `${JSON.stringify({ ...head, ...part }, null, 1)}\n`)
  if (svg !== undefined) await writeFile(path.replace(/\.json$/, '.svg'), svg)
}
