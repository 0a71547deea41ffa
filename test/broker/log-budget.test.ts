import t from 'tap'
import { silentLogger } from '#base/logger.ts'
import { LogBudget, logLinesPerWindowMax } from '#broker/log-budget.ts'
import { ManualClock } from '../fakes/manual-clock.ts'

t.test('D6: lines of a window are bounded and the rest is counted', async t => {
  const clock = new ManualClock()
  const lines: [object, string | undefined][] = []
  const budget = new LogBudget(clock, {
    ...silentLogger,
    warn: (fields, message) => lines.push([fields, message]),
  })
  for (let i = 0; i < logLinesPerWindowMax + 70; i++) budget.warn({ i }, 'refused')
  t.equal(lines.length, logLinesPerWindowMax)
  clock.advance(10_000)
  budget.warn({}, 'refused')
  t.same(lines.slice(logLinesPerWindowMax), [
    [{ suppressed: 70 }, 'more lines like these'],
    [{}, 'refused'],
  ])
})
