import t from 'tap'
import { Breaker, failuresToOpen } from '#invoker/breaker.ts'
import { ManualClock } from '../fakes/manual-clock.ts'

function breakerWith(attempts: number, concurrency = 1): Breaker {
  const breaker = new Breaker(new ManualClock(), () => 0)
  breaker.reset({ attempts, concurrency })
  return breaker
}

for (const attempts of [1, 3, 10]) {
  t.test(`one or two bad records in a row never open it, with ${attempts} attempts each`, async t => {
    const breaker = breakerWith(attempts)
    for (let record = 0; record < 2; record++)
      for (let attempt = 0; attempt < attempts; attempt++) breaker.failed()
    t.equal(breaker.state.kind, 'closed')
    breaker.succeeded()
    t.equal(breaker.failures, 0)
  })
}

t.test('a function that always fails opens it', async t => {
  for (const attempts of [1, 3, 10]) {
    const breaker = breakerWith(attempts, 2)
    let failures = 0
    for (; breaker.state.kind === 'closed'; failures++) breaker.failed()
    t.equal(failures, 2 * Math.max(failuresToOpen, 2 * attempts + 1))
  }
})
