import fc from 'fast-check'
import t from 'tap'
import { SortedKeys } from '#store/sorted-keys.ts'
import { Spans } from '#store/spans.ts'
import { TimerIndex } from '#store/timer-index.ts'

t.test('records and bytes stay right over any appends and truncations', async t => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ bytes: fc.integer({ min: 1, max: 5_000 }), drop: fc.nat(3) }), { maxLength: 300 }),
      steps => {
        const spans = new Spans({ maxBytes: 100_000, overflow: 'block' })
        const sizes: number[] = []
        let head = 0
        for (const { bytes, drop } of steps) {
          spans.add(sizes.length, bytes, sizes.length)
          sizes.push(bytes)
          if (drop === 0) {
            head = Math.floor((head + sizes.length) / 2)
            spans.dropTo(head, sizes.length)
          }
          const kept = sizes.slice(head)
          t.equal(spans.records, kept.length)
          t.ok(spans.bytes >= 0)
          if (kept.length === 0) t.equal(spans.bytes, 0)
        }
      },
    ),
    { numRuns: 50 },
  )
})

t.test('a log has few spans, whatever its size', async t => {
  const spans = new Spans({ maxBytes: 1e12, maxRecords: 1_000_000, overflow: 'drop-oldest' })
  for (let offset = 0; offset < 200_000; offset++) spans.add(offset, 300, offset)
  t.ok(spans.count <= 200, `${spans.count} spans`)
  t.ok(new Set(spans.all().map(span => span.key)).size === spans.count)
})

t.test('sorted keys range like a sorted array', async t => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ maxLength: 3 }), { maxLength: 2_000 }),
      fc.string(),
      fc.string(),
      (keys, gte, lt) => {
        const sorted = new SortedKeys()
        const known = new Set<string>()
        for (const [index, key] of keys.entries()) {
          if (index % 5 === 4) t.equal(sorted.delete(key), known.delete(key))
          else if (!known.has(key)) {
            known.add(key)
            sorted.add(key)
          }
        }
        const expected = [...known].filter(key => key >= gte && key < lt).sort()
        t.same([...sorted.range(gte, lt)], expected)
        t.same([...sorted.reverse(gte, lt)], expected.reverse())
      },
    ),
    { numRuns: 60 },
  )
})

t.test('timers of a kind come by due time, whatever their ids', async t => {
  const index = new TimerIndex()
  index.set('z', 'will', 10)
  index.set('a', 'will', 20)
  index.set('m', 'will', 10)
  index.set('x', 'willow', 1)
  t.same(index.due('will', 20, 10), ['m', 'z', 'a'])
  index.set('z', 'schedule', 5)
  t.same(index.due('will', 20, 10), ['m', 'a'])
  t.equal(index.nextAt('schedule'), 5)
  t.equal(index.delete('z'), true)
  t.equal(index.delete('z'), false)
  t.equal(index.size, 3)
})
