/**
 * `npm run fuzz`: the packet fuzzer of the tests, long. Options: --minutes N (10) or --sessions N, --at-once N,
 * --json FILE. Prints its seed; `SEED=… npm run fuzz` repeats the run, `npm run fuzz -- --session SEED` plays the one
 * session of that seed and shows its packets. Ends with exit code 1 when something broke.
 */
import { writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { fuzzRun, playAlone } from '../test/harness/fuzz-run.ts'
import { sessionOf } from '../test/harness/packet-fuzz.ts'
import { seededRandom } from '../test/harness/random.ts'

const { values: flags } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    sessions: { type: 'string' },
    'at-once': { type: 'string', default: '16' },
    session: { type: 'string' },
    json: { type: 'string' },
  },
})

const startedAt = Date.now()
const say = (line: string) => console.log(`${Math.round((Date.now() - startedAt) / 1000)} s: ${line}`)

async function playOne(seed: number): Promise<boolean> {
  const session = sessionOf(seed)
  const { kind } = session.expected
  console.log(
    JSON.stringify(
      { ...session, expected: kind, frames: session.frames.map(frame => frame.toString('hex')) },
      null,
      2,
    ),
  )
  const violation = await playAlone({}, session)
  console.log(violation ?? 'no violation')
  return violation === undefined
}

async function playMany(): Promise<boolean> {
  const random = seededRandom()
  say(`SEED=${random.seed}`)
  const amount =
    flags.sessions === undefined ? { minutes: Number(flags.minutes) } : { sessions: Number(flags.sessions) }
  const report = await fuzzRun({ random, say, atOnce: Number(flags['at-once']), ...amount })
  say(JSON.stringify(report, null, 2))
  if (flags.json !== undefined) {
    const date = new Date(startedAt).toISOString()
    await writeFile(flags.json, `${JSON.stringify({ date, node: process.version, ...report }, null, 2)}\n`)
  }
  return report.violations.length === 0
}

const well = flags.session === undefined ? await playMany() : await playOne(Number(flags.session))
process.exitCode = well ? 0 : 1
