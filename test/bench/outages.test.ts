/** The two rates of the kills scenario count each delivery where it belongs. */
import t from 'tap'
import { Outages } from '../../bench/outages.ts'

t.test(
  'what arrives until all is up again counts as an outage, and all of it in the rate overall',
  async t => {
    let nowMs = 0
    const outages = new Outages(() => nowMs)
    const deliver = (count: number) => {
      for (let i = 0; i < count; i++) outages.delivered()
    }
    deliver(500)
    nowMs = 1_000
    outages.down()
    deliver(50)
    nowMs = 2_000
    outages.up()
    nowMs = 3_000
    // The first one ends the outage.
    deliver(1)
    deliver(449)
    nowMs = 4_000
    outages.end()
    deliver(1_000)
    t.same(outages.rates, { perSecond: 250, betweenPerSecond: 475, outageP50Ms: 2_000 })
  },
)

t.test('a kill before the last one is over makes one outage of both', async t => {
  let nowMs = 0
  const outages = new Outages(() => nowMs)
  outages.delivered()
  nowMs = 1_000
  outages.down()
  nowMs = 2_000
  outages.up()
  outages.down()
  nowMs = 3_000
  outages.up()
  outages.delivered()
  outages.end()
  t.same(outages.rates, { perSecond: 1, betweenPerSecond: 1, outageP50Ms: 2_000 })
})

t.test('an outage that is not over at the end lasts until then', async t => {
  let nowMs = 0
  const outages = new Outages(() => nowMs)
  outages.delivered()
  nowMs = 500
  outages.down()
  nowMs = 1_000
  outages.end()
  t.same(outages.rates, { perSecond: 1, betweenPerSecond: 2, outageP50Ms: 500 })
})
