/** The table says what was measured: medians, ratios of the same round, goals that were missed, messages lost. */
import t from 'tap'
import type { Result } from '../../bench/result.ts'
import type { Measurement } from '../../bench/rounds.ts'
import type { Scenario } from '../../bench/scenario.ts'
import { median, renderTable } from '../../bench/table.ts'

const scenario: Scenario = {
  name: 'flow',
  profiles: ['box'],
  rounds: 'all',
  choosesSetting: false,
  figures: [
    {
      title: 'rate',
      values: ['rate'],
      better: 'higher',
      compared: true,
      goals: [
        { profile: 'box', value: 'rate', atLeast: 1.5, times: 'other' },
        { profile: 'box', value: 'rate', atLeast: 5_000 },
        { profile: 'pi', value: 'rate', atLeast: 1 },
      ],
    },
    { title: 'delay', values: ['p50', 'p99'], better: 'lower' },
    { title: 'never measured', values: ['none'], better: 'lower' },
  ],
  takes: () => true,
  measure: () => Promise.reject(new Error('not in this test')),
}

function measured(peer: string, round: number, rate: number, missing = 0): Measurement {
  return {
    scenario: 'flow',
    peer,
    setting: 's',
    depth: 4_000,
    round,
    values: { rate, p50: 1.234, p99: 45.67, missing },
  }
}

const result: Result = {
  profile: 'box',
  limits: ['none'],
  date: '2026-01-02T03:04:05.000Z',
  commit: 'abc1234',
  seed: 1,
  seconds: 10,
  rounds: 3,
  secondsPerMeasurement: 2,
  machine: { cpu: 'CPU', cores: 2, memoryMb: 1024, kernel: '6', node: 'v24' },
  disk: { fileSystem: 'ext4', device: '/dev/x', fsyncP50Ms: 0.2, fsyncP99Ms: 1 },
  peers: [
    { name: 'Fescue', does: 'all', version: '1' },
    { name: 'other', does: 'less', version: '2' },
    { name: 'absent', does: 'nothing', version: '3' },
  ],
  settings: [],
  leftOut: [{ what: 'NATS', reason: 'apt install nats-server\nand more' }],
  measurements: [
    measured('Fescue', 1, 2_000),
    measured('Fescue', 2, 4_000),
    measured('Fescue', 3, 3_000),
    // Ratios of the rounds: 2, 1, 3. The ratio of the medians would be 3.
    measured('other', 1, 1_000),
    measured('other', 2, 4_000, 17),
    measured('other', 3, 1_000),
  ],
}

t.test('medians, ratios by round, losses and goals', async t => {
  const lines = renderTable(result, [scenario]).split('\n')
  t.equal(lines[0], '|  | Fescue | other | goal |')
  t.equal(lines[2], '| rate | 3,000 | 1,000 (2) 17 lost | ≥ 1.50 × other ✔, ≥ 5,000 ✘ |')
  t.equal(lines[3], '| delay | 1.23 / 45.7 | 1.23 / 45.7 |  |')
  t.notMatch(lines.join('\n'), 'never measured')
})

t.test('below it: where, when, at which commit, and what was left out with its reason', async t => {
  const text = renderTable(result, [scenario])
  for (const part of [
    '2026-01-02',
    'abc1234',
    'fsync p50 0.2 ms',
    '- other 2: less',
    'Not measured: NATS (apt install nats-server)',
  ])
    t.ok(text.includes(part), part)
})

t.test('median', async t => {
  t.equal(median([3, 1, 2]), 2)
  t.equal(median([4, 1, 2, 3]), 2.5)
  t.equal(median([]), undefined)
})
