/**
 * Malformed, mutated and misplaced MQTT packets against the daemon: none brings it down, none disturbs another
 * client, nothing is left of them; and two builds with a planted defect are found. `npm run fuzz` does it for long.
 */
import { join } from 'node:path'
import t from 'tap'
import type { Canary } from '../harness/canary.ts'
import { type FuzzReport, fuzzRun } from '../harness/fuzz-run.ts'
import { sessionOf } from '../harness/packet-fuzz.ts'
import { seededRandom } from '../harness/random.ts'

t.setTimeout(170_000)

const hook = join(import.meta.dirname, '../harness/canary.ts')

t.test('a session is made of its seed alone', async t => {
  t.same(sessionOf(4_711), sessionOf(4_711))
  const kinds = new Set(Array.from({ length: 50 }, (_, seed) => sessionOf(seed).expected.kind))
  t.same([...kinds].sort(), ['damaged', 'refused', 'served'])
})

t.test('700 sessions beside a healthy pair', async t => {
  const random = seededRandom()
  t.comment(`SEED=${random.seed}`)
  const { violations, culprit, ...report } = await fuzzRun({ random, sessions: 700 })
  t.comment(JSON.stringify(report))
  t.same({ violations, culprit }, { violations: [], culprit: undefined })
  t.ok(report.neighbourMessages > 20, `${report.neighbourMessages} messages of the healthy pair`)
})

interface Planted {
  readonly name: string
  readonly canary: Canary
  readonly found: RegExp
}

const planted: readonly Planted[] = [
  {
    name: 'an acknowledgement may have any length',
    canary: {
      file: 'src/broker/packet-reader.ts',
      text: 'if (end - body !== 2) throw',
      replacement: 'if (end - body < 0) throw',
    },
    found: /not refused/,
  },
  {
    name: 'a packet in the wrong state ends the process',
    canary: {
      file: 'src/broker/packet-flow.ts',
      text: `throw malformed('a second CONNECT [MQTT-3.1.0-2]')`,
      replacement: `process.exit(7)`,
    },
    found: /the daemon ended/,
  },
]

async function reportOf(canary: Canary): Promise<FuzzReport> {
  // The same sessions each time: whether they meet the defect is no matter of luck.
  return await fuzzRun({
    random: seededRandom(1),
    sessions: 600,
    shrinkTriesMax: 3,
    nodeArgs: ['--import', hook],
    environment: { CANARY_BUILD: JSON.stringify(canary) },
  })
}

for (const { name, canary, found } of planted)
  t.test(`a planted defect is found: ${name}`, async t => {
    const { violations, culprit } = await reportOf(canary)
    t.match(violations.join('\n'), found)
    t.ok(
      culprit !== undefined && culprit.hex.length > 0,
      `and one session does it alone: ${JSON.stringify(culprit)}`,
    )
  })
