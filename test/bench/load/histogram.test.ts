import t from 'tap'
import { Histogram } from '../../../bench/load/histogram.ts'

t.test('percentiles are within 2 percent of the truth, from microseconds to minutes', async t => {
  for (const unitMs of [0.001, 1, 60]) {
    const histogram = new Histogram()
    for (let i = 1; i <= 1000; i++) histogram.add(i * unitMs)
    for (const share of [0.5, 0.99, 1]) {
      const truth = share * 1000 * unitMs
      t.ok(
        Math.abs(histogram.at(share) - truth) / truth < 0.02,
        `${share} of ${unitMs} ms: ${histogram.at(share)}`,
      )
    }
    t.equal(histogram.maxMs, 1000 * unitMs)
    histogram.reset()
    t.equal(histogram.at(0.5), 0)
  }
})
