import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Clock } from '#base/clock.ts'
import { FakeSandbox } from '../fakes/fake-sandbox.ts'
import { InvokerBench, removeFunctionFolder, writeFunction } from '../fakes/invoker-bench.ts'
import { ManualClock } from '../fakes/manual-clock.ts'

const folder = () => mkdtempDisposable(join(tmpdir(), 'schedules-'))
const start = Date.UTC(2030, 0, 1, 12, 0, 0)
const everyTen = 'triggers:\n  - schedule: "*/10 * * * * *"\n    name: tick\n'
const turn = () => new Promise(resolve => setImmediate(resolve))

async function ticking(path: string, clock: Clock, manifest = everyTen) {
  await writeFunction(path, 'f', manifest)
  const times: string[] = []
  const sandbox = new FakeSandbox()
  sandbox.handlers.set('f', ({ item }) => {
    times.push(`${item.topic} ${JSON.parse(item.payload.toString()).time.slice(11, 19)}`)
  })
  const bench = await InvokerBench.open({ path, disk: true, clock, sandbox })
  return { bench, times }
}

/** Turns the clock second by second, so that what a run commits is seen in time. */
async function pass(clock: ManualClock, seconds: number) {
  for (let i = 0; i < seconds; i++) {
    clock.advance(1_000)
    await turn()
  }
}

t.test('a schedule gives one event per run, with the planned time', async t => {
  await using dir = await folder()
  const clock = new ManualClock(start)
  const { bench, times } = await ticking(dir.path, clock)
  await using _ = bench
  await pass(clock, 31)
  await bench.quiet()
  t.same(times, ['$schedule/tick 12:00:10', '$schedule/tick 12:00:20', '$schedule/tick 12:00:30'])
  t.match(bench.row('f')?.schedules, [{ name: 'tick', nextAt: start + 40_000 }])
  t.match((await bench.store.timersDue('schedule', Number.MAX_SAFE_INTEGER, 10)).length, 1)
})

t.test('over a restart: no run is doubled, what was missed is skipped to the next', async t => {
  await using dir = await folder()
  const all: string[] = []
  for (const [from, seconds] of [
    [0, 15],
    [15, 2],
    [17, 5],
    [58, 15],
  ] as const) {
    const clock = new ManualClock(start + from * 1_000)
    const { bench, times } = await ticking(dir.path, clock)
    await using _ = bench
    await pass(clock, seconds)
    await bench.quiet()
    all.push(...times)
  }
  t.same(
    all.map(each => each.slice(-8)),
    ['12:00:10', '12:00:20', '12:01:00', '12:01:10'],
  )
})

t.test('a run that is a little late still happens', async t => {
  await using dir = await folder()
  {
    const { bench } = await ticking(dir.path, new ManualClock(start))
    await using _ = bench
  }
  const clock = new ManualClock(start + 12_000)
  const { bench, times } = await ticking(dir.path, clock)
  await using _ = bench
  await pass(clock, 1)
  await bench.quiet()
  t.same(times, ['$schedule/tick 12:00:10'])
})

t.test('a clock that was ahead of time and is set back does not put the schedule off', async t => {
  await using dir = await folder()
  let offsetMs = 365 * 24 * 3_600_000
  const inner = new ManualClock(start)
  const clock: Clock = {
    now: () => inner.now() + offsetMs,
    monotonic: () => inner.monotonic(),
    after: (delayMs, callback) => inner.after(delayMs, callback),
  }
  const { bench, times } = await ticking(dir.path, clock, everyTen.replace('*/10 * *', '0 */2 *'))
  await using _ = bench
  offsetMs = 0
  await pass(inner, 130)
  await bench.quiet()
  t.same(times, ['$schedule/tick 12:02:00'])
})

t.test('edits keep, replace and remove timers; a detached function has none', async t => {
  await using dir = await folder()
  const clock = new ManualClock(start)
  const { bench } = await ticking(dir.path, clock)
  await using _ = bench
  const timers = async () =>
    (await bench.store.timersDue('schedule', Number.MAX_SAFE_INTEGER, 10)).map(({ dueAt }) => dueAt - start)
  t.same(await timers(), [10_000])
  await writeFunction(dir.path, 'f', `${everyTen}  - schedule: "5 * * * * *"\n`)
  await bench.invoker.rescan()
  t.same(await timers(), [5_000, 10_000])
  t.match(bench.row('f')?.schedules, [{ name: 'tick' }, { name: 'f' }])
  await writeFunction(dir.path, 'f', 'triggers:\n  - schedule: "30 * * * * *"\n    timezone: Asia/Kolkata\n')
  await bench.invoker.rescan()
  t.same(await timers(), [30_000])
  await removeFunctionFolder(dir.path, 'f')
  await bench.invoker.rescan()
  t.same(await timers(), [])
})

t.test('the time zone of a schedule counts', async t => {
  await using dir = await folder()
  const clock = new ManualClock(start)
  const daily = 'timezone: America/New_York\ntriggers:\n  - schedule: "0 30 7 * * *"\n'
  const { bench } = await ticking(dir.path, clock, daily)
  await using _ = bench
  t.match(bench.row('f')?.schedules, [{ nextAt: Date.UTC(2030, 0, 1, 12, 30) }])
})
