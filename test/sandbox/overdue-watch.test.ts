/** An executor is killed at its deadline only after it could have ended by itself. */
import t from 'tap'
import { OverdueWatch, readCpuMs } from '#sandbox/overdue-watch.ts'

t.test('over at the second look, once the executor had the processor', async t => {
  const watch = new OverdueWatch()
  const run = {}
  t.equal(
    watch.isOver(run, 0, () => 1_000),
    false,
  )
  t.equal(
    watch.isOver(run, 50, () => 1_010),
    false,
    'it was hardly scheduled: the machine is busy',
  )
  t.equal(
    watch.isOver(run, 100, () => 1_050),
    true,
  )
})

t.test('over when it waits without computing, or its time cannot be read', async t => {
  const watch = new OverdueWatch()
  const run = {}
  t.equal(
    watch.isOver(run, 0, () => 5),
    false,
  )
  t.equal(
    watch.isOver(run, 2_999, () => 5),
    false,
  )
  t.equal(
    watch.isOver(run, 3_000, () => 5),
    true,
  )
  const blind = new OverdueWatch()
  t.equal(
    blind.isOver(run, 0, () => undefined),
    false,
  )
  t.equal(
    blind.isOver(run, 50, () => undefined),
    true,
  )
})

t.test('another run, or none in between, begins anew', async t => {
  const watch = new OverdueWatch()
  const run = {}
  watch.isOver(run, 0, () => 0)
  t.equal(
    watch.isOver({}, 50, () => 500),
    false,
  )
  watch.isOver(run, 100, () => 600)
  watch.isOver(undefined, 150, () => 700)
  t.equal(
    watch.isOver(run, 200, () => 800),
    false,
  )
})

t.test('CPU time of a process', async t => {
  const before = readCpuMs(process.pid) ?? Number.NaN
  for (const begun = process.cpuUsage(); process.cpuUsage(begun).user < 60_000; );
  t.ok((readCpuMs(process.pid) ?? 0) >= before + 40)
  t.equal(readCpuMs(2 ** 22 + 1), undefined)
})
