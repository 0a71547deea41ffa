/** The system clock and the sleep that every wait is made of. */
import t from 'tap'
import { sleep, systemClock, timerMaxMs } from '#base/clock.ts'
import { ManualClock } from '../fakes/manual-clock.ts'

t.test('sleep resolves when the time is over, and not before', async t => {
  const clock = new ManualClock()
  let awake = false
  const slept = sleep(clock, 100).then(() => {
    awake = true
  })
  clock.advance(99)
  await Promise.resolve()
  t.notOk(awake)
  clock.advance(1)
  await slept
  t.ok(awake)
})

t.test('an abort ends a sleep at once and leaves nothing set', async t => {
  const clock = new ManualClock()
  const controller = new AbortController()
  const slept = sleep(clock, 1_000_000, controller.signal)
  t.equal(clock.alarms, 1)
  controller.abort()
  await slept
  t.equal(clock.alarms, 0)
  await sleep(clock, 1_000_000, controller.signal)
  t.equal(clock.alarms, 0, 'an aborted signal does not even begin')
})

t.test('the system clock calls once, can be cancelled, and cuts what no timer takes', async t => {
  // Timers of the clock do not keep the process alive: the test has to.
  const alive = setInterval(() => {}, 1_000)
  t.teardown(() => clearInterval(alive))
  await new Promise<void>(resolve => systemClock.after(1, resolve))
  const cancel = systemClock.after(0, () => t.fail('was cancelled'))
  cancel()
  const far = systemClock.after(timerMaxMs * 10, () => t.fail('an overflow fires at once'))
  await new Promise<void>(resolve => systemClock.after(5, resolve))
  far()
  t.ok(Math.abs(systemClock.now() - Date.now()) < 1_000)
  const first = systemClock.monotonic()
  t.ok(systemClock.monotonic() >= first)
})
