/** Waits grow with full jitter up to their bound, and begin anew only once things have held. */
import t from 'tap'
import { Backoff } from '#base/backoff.ts'

t.test('the ceiling doubles up to maxMs', async t => {
  const backoff = new Backoff({ initialMs: 100, maxMs: 1_000, random: () => 0.999999 })
  const waits = Array.from({ length: 6 }, () => backoff.nextMs())
  t.same(waits, [100, 200, 400, 800, 1_000, 1_000])
  t.equal(backoff.attempt, 6)
})

t.test('jitter is full: from 1 ms to the ceiling', async t => {
  t.equal(new Backoff({ initialMs: 100, maxMs: 1_000, random: () => 0 }).nextMs(), 1)
  const backoff = new Backoff({ initialMs: 1_000, maxMs: 1_000 })
  const waits = Array.from({ length: 500 }, () => backoff.nextMs())
  t.ok(waits.every(wait => wait >= 1 && wait <= 1_000))
  t.ok(Math.min(...waits) < 200 && Math.max(...waits) > 800, 'spread over the whole range')
})

t.test('only held() begins anew; thousands of attempts stay within the bound', async t => {
  const backoff = new Backoff({ initialMs: 100, maxMs: 60_000, random: () => 0.999999 })
  for (let i = 0; i < 5_000; i++) t.ok(backoff.nextMs() <= 60_000) || t.bailout('beyond the bound')
  backoff.held()
  t.equal(backoff.attempt, 0)
  t.equal(backoff.nextMs(), 100)
})
