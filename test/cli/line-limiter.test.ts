import t from 'tap'
import { kindsMax, LineLimiter } from '#cli/line-limiter.ts'
import { ManualClock } from '../fakes/manual-clock.ts'

t.test('a kind is shown once in its interval, and then says how many were left out', async t => {
  const clock = new ManualClock()
  const limiter = new LineLimiter(clock, { repeatMs: 10_000, linesPerSecondMax: 100 })
  t.equal(limiter.admit('a'), 0)
  t.equal(limiter.admit('a'), undefined)
  t.equal(limiter.admit('b'), 0, 'another kind is shown at once')
  clock.advance(9_999)
  t.equal(limiter.admit('a'), undefined)
  clock.advance(1)
  t.equal(limiter.admit('a'), 2)
  clock.advance(10_000)
  t.equal(limiter.admit('a'), 0, 'the count starts over')
})

t.test('all kinds together stay below the ceiling', async t => {
  const clock = new ManualClock()
  const limiter = new LineLimiter(clock, { repeatMs: 10_000, linesPerSecondMax: 3 })
  const shown = Array.from({ length: 10 }, (_, i) => limiter.admit(`kind ${i}`)).filter(n => n !== undefined)
  t.equal(shown.length, 3)
  clock.advance(1_000)
  t.equal(limiter.admit('kind 9'), 1, 'what the ceiling held back is shown later and counted')
})

t.test('the kinds that are remembered are bounded', async t => {
  const clock = new ManualClock()
  const limiter = new LineLimiter(clock, { repeatMs: 1e9, linesPerSecondMax: 1e9 })
  for (let i = 0; i <= kindsMax; i++) limiter.admit(`kind ${i}`)
  t.equal(limiter.admit('kind 0'), 0, 'the one not shown for longest was forgotten')
  t.equal(limiter.admit(`kind ${kindsMax}`), undefined)
})
