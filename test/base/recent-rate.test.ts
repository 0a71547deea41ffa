import t from 'tap'
import { RecentRate } from '#base/recent-rate.ts'
import { ManualClock } from '../fakes/manual-clock.ts'

t.test('a rate a second over the last minute', async t => {
  const clock = new ManualClock()
  clock.advance(123_456)
  const rate = new RecentRate(clock)
  t.equal(rate.perSecond, 0)
  rate.add(10)
  t.equal(rate.perSecond, 10, 'what has just begun counts as one second')
  clock.advance(5_000)
  t.equal(rate.perSecond, 2, 'from the first on')
  for (let i = 0; i < 55; i++) {
    rate.add(1)
    clock.advance(1_000)
  }
  t.ok(Math.abs(rate.perSecond - 1) < 0.2, `about one: ${rate.perSecond}`)
  clock.advance(70_000)
  t.equal(rate.perSecond, 0, 'a minute later it is forgotten')
  rate.add(3)
  t.equal(rate.perSecond, 3)
  clock.advance(1e9)
  t.equal(rate.perSecond, 0)
})
