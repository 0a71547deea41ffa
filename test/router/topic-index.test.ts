import fc from 'fast-check'
import t from 'tap'
import { filterMatches } from '#base/topics.ts'
import { TopicIndex } from '#router/topic-index.ts'

const level = fc.constantFrom('a', 'b', '', '$x', 'long-level')
const topic = fc.array(level, { minLength: 1, maxLength: 5 }).map(levels => levels.join('/') || 'a')
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { minLength: 1, maxLength: 5 }), fc.boolean())
  .map(([levels, hash]) => (hash ? [...levels.slice(0, -1), '#'] : levels).join('/') || '+')

t.test('the index finds what matching each filter alone finds', async t => {
  fc.assert(
    fc.property(fc.array(filter, { maxLength: 40 }), topic, (filters, topic) => {
      const index = new TopicIndex<string>()
      for (const each of filters) index.add(each, each)
      const found = index.match(topic).map(match => match.filter)
      const expected = [...new Set(filters)].filter(each => filterMatches(each, topic))
      return JSON.stringify(found.toSorted()) === JSON.stringify(expected.toSorted())
    }),
  )
  t.pass('held for all generated cases')
})

t.test('what is removed matches no more, and the index is empty when all is removed', async t => {
  fc.assert(
    fc.property(
      fc.uniqueArray(filter, { maxLength: 30 }),
      fc.infiniteStream(fc.boolean()),
      topic,
      (filters, coin, topic) => {
        const index = new TopicIndex<number>()
        for (const each of filters) index.add(each, 1)
        const kept: string[] = []
        for (const each of filters) {
          if (coin.next().value) kept.push(each)
          else if (!index.remove(each, 1)) return false
        }
        const found = index.match(topic).map(match => match.filter)
        if (found.length !== kept.filter(each => filterMatches(each, topic)).length) return false
        for (const each of kept) index.remove(each, 1)
        return index.size === 0 && index.match(topic).length === 0
      },
    ),
  )
  t.pass('held for all generated cases')
})

t.test('adding a pair again changes nothing', async t => {
  const index = new TopicIndex<string>()
  index.add('a/+', 'x')
  const { version } = index
  index.add('a/+', 'x')
  t.equal(index.size, 1)
  t.equal(index.version, version)
  t.equal(index.remove('a/+', 'y'), false)
  t.equal(index.remove('a/b', 'x'), false)
})

t.test('a value appears once for each of its matching filters', async t => {
  const index = new TopicIndex<string>()
  index.add('a/#', 'x')
  index.add('a/+', 'x')
  t.same(
    index
      .match('a/b')
      .map(match => match.filter)
      .toSorted(),
    ['a/#', 'a/+'],
  )
  t.same(
    index.match('a').map(match => match.filter),
    ['a/#'],
    '"#" matches the parent level [MQTT-4.7.1-2]',
  )
})

t.test('names of Object.prototype are ordinary levels', async t => {
  const index = new TopicIndex<string>()
  index.add('__proto__/constructor', 'x')
  t.equal(index.match('__proto__/constructor').length, 1)
  t.equal(index.match('toString').length, 0)
})
