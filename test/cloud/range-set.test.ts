/** Sets of ranges against sets of numbers. */
import fc from 'fast-check'
import t from 'tap'
import { RangeSet, rangesMax } from '#cloud/range-set.ts'

const span = fc.tuple(fc.nat(60), fc.nat(12)).map(([from, length]) => [from, from + length] as const)

t.test('a range set does what a set of numbers does', async () => {
  const steps = fc.array(fc.tuple(fc.boolean(), span), { maxLength: 40 })
  fc.assert(
    fc.property(steps, span, (all, [from, to]) => {
      const set = new RangeSet()
      const model = new Set<number>()
      for (const [adds, [low, high]] of all) {
        if (adds) set.add(low, high)
        else set.remove(low, high)
        for (let n = low; n < high; n++) adds ? model.add(n) : model.delete(n)
      }
      const again = new RangeSet(JSON.parse(JSON.stringify(set.state())))
      const missing = again
        .missing(from, to)
        .flatMap(([low, high]) => Array.from({ length: high - low }, (_, i) => low + i))
      const expected = Array.from({ length: to - from }, (_, i) => from + i).filter(n => !model.has(n))
      return again.size === model.size && JSON.stringify(missing) === JSON.stringify(expected)
    }),
  )
})

t.test('a full range set forgets its oldest ranges and keeps counting them (D6)', async t => {
  const set = new RangeSet()
  for (let i = 0; i < rangesMax + 10; i++) set.add(i * 3, i * 3 + 2)
  t.equal(set.size, (rangesMax + 10) * 2)
  t.equal(set.state().ranges.length, rangesMax)
})
