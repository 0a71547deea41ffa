import fc from 'fast-check'
import t from 'tap'
import { filterCovers, filterMatches, filtersOverlap } from '#base/topics.ts'

const levels = ['a', 'b', '']
/** All topics of up to three levels over a few names. */
const topics: string[] = []
for (const first of ['$s', ...levels])
  for (const second of [undefined, ...levels])
    for (const third of second === undefined ? [undefined] : [undefined, ...levels]) {
      const topic = [first, second, third].filter(level => level !== undefined).join('/')
      if (topic !== '') topics.push(topic)
    }

const filter = fc
  .tuple(
    fc.constantFrom('a', 'b', '+', '$s'),
    fc.array(fc.constantFrom('a', 'b', '', '+'), { maxLength: 2 }),
    fc.boolean(),
  )
  .map(([first, rest, open]) => [first, ...rest, ...(open && rest.length < 2 ? ['#'] : [])].join('/'))

t.test('filters overlap when some topic is matched by both', async t => {
  fc.assert(
    fc.property(filter, filter, (a, b) => {
      const both = topics.some(topic => filterMatches(a, topic) && filterMatches(b, topic))
      return filtersOverlap(a, b) === both && filtersOverlap(b, a) === both
    }),
    { numRuns: 2_000 },
  )
  t.ok(filtersOverlap('#', 'a/+'))
  t.notOk(filtersOverlap('#', '$s/a'))
})

t.test('a filter covers another when it matches all its topics', async t => {
  fc.assert(
    fc.property(filter, filter, (outer, inner) => {
      if (!filterCovers(outer, inner)) return true
      return topics.every(topic => !filterMatches(inner, topic) || filterMatches(outer, topic))
    }),
    { numRuns: 2_000 },
  )
  t.ok(filterCovers('a/#', 'a/+/b'))
})
