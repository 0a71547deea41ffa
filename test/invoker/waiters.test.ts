import t from 'tap'
import { FescueError } from '#base/errors.ts'
import { Waiters, waitersMax } from '#invoker/waiters.ts'
import { ManualClock } from '../fakes/manual-clock.ts'

t.test('a waiter is answered once, times out, or hears that the daemon stops', async t => {
  const clock = new ManualClock()
  const waiters = new Waiters(clock)
  const answered = waiters.wait(1, 'f', 1_000)
  const late = waiters.wait(2, 'f', 1_000)
  const stopped = waiters.wait(3, 'f', 5_000)
  const outcome = { kind: 'ok', invocationId: 'id', value: '1', durationMs: 1, published: 0 } as const
  waiters.answer(1, outcome)
  waiters.answer(1, outcome)
  t.same(await answered, outcome)
  clock.advance(1_001)
  await t.rejects(late, { code: 'FESCUE_FUNCTION_TIMEOUT' })
  waiters.fail(new FescueError('FESCUE_STOPPING', 'stop'))
  await t.rejects(stopped, { code: 'FESCUE_STOPPING' })
  t.equal(waiters.size, 0)
  t.equal(clock.alarms, 0)
})

t.test('their number is bounded', async t => {
  const waiters = new Waiters(new ManualClock())
  const waiting = Array.from({ length: waitersMax }, (_, i) => waiters.wait(i, 'f', 1_000))
  t.throws(() => waiters.checkRoom('f'), { code: 'FESCUE_FUNCTION_UNAVAILABLE', message: /1024 callers/ })
  waiters.fail(new FescueError('FESCUE_STOPPING', 'stop'))
  await Promise.allSettled(waiting)
  t.doesNotThrow(() => waiters.checkRoom('f'))
})
