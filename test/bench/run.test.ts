/** The bench runs, with the peers that are installed here. What it measures decides nothing. */
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import type { Result } from '../../bench/result.ts'
import { need } from '../harness/need.ts'
import { root } from '../harness/processes.ts'

t.setTimeout(150_000)

const run = promisify(execFile)
// On the disk of the checkout: the system's temporary folder may be in memory, which the bench refuses.
mkdirSync(join(root, '.tap'), { recursive: true })
const folder = mkdtempSync(join(root, '.tap', 'bench-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

async function bench(...flags: readonly string[]): Promise<Result> {
  const file = join(folder, 'result.json')
  await run(process.execPath, [join(root, 'bench/run.ts'), '--json', file, '--first-settings', ...flags], {
    cwd: root,
    env: { ...process.env, NODE_OPTIONS: '', BENCH_DIR: folder },
  })
  return JSON.parse(readFileSync(file, 'utf8'))
}

t.test('every scenario of the box gives its figures, and the kills break no promise', async t => {
  const flags = ['--seconds', '0.3', '--rounds', '1', '--records', '2000', '--kills', '1']
  const only = 'flow,persistent,fan-out,start,memory-10,calls,backlog,kills'
  const { measurements, leftOut, seed, commit, disk } = await bench(
    ...flags,
    '--only',
    only,
    '--peers',
    'fescue,mosquitto',
  )
  t.same(
    leftOut.filter(({ what }) => what !== 'mosquitto'),
    [],
  )
  const ours = measurements.filter(({ peer }) => peer === 'Fescue')
  t.same(ours.map(({ scenario }) => scenario).toSorted(), only.split(',').toSorted())
  for (const { scenario, values, violations = [] } of ours) {
    t.same(violations, [], scenario)
    for (const [name, value] of Object.entries(values))
      t.ok(Number.isFinite(value), `${scenario}: ${name} ${value}`)
  }
  t.ok(seed > 0 && commit !== '' && disk.fsyncP50Ms > 0)
})

t.test('the profile pi adds its 15 ms to each fsync', { skip: need('strace', 'taskset') }, async t => {
  const { measurements, limits } = await bench(
    ...['--profile', 'pi', '--only', 'paced-100', '--peers', 'fescue', '--seconds', '0.3', '--rounds', '1'],
  )
  t.match(limits.join(), /15 ms/)
  const p50Ms = measurements[0]?.values.p50Ms ?? 0
  t.ok(p50Ms >= 15, `p50 ${p50Ms} ms: a message was acknowledged after an fsync`)
})

t.test('memory as a disk, unknown scenarios and unknown peers are refused', async t => {
  const refused = (...flags: readonly string[]) =>
    run(process.execPath, [join(root, 'bench/run.ts'), ...flags], {
      env: { ...process.env, NODE_OPTIONS: '', BENCH_DIR: '/dev/shm' },
    }).then(
      () => t.fail('was not refused'),
      ({ stderr }) => stderr,
    )
  t.match(await refused('--only', 'calls'), /is on tmpfs/)
  t.match(await refused('--only', 'nothing'), /no scenario "nothing"/)
  t.match(await refused('--peers', 'nobody'), /no peer "nobody"/)
})
