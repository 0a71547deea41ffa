/** The number per epoch and log against a simple model. */
import fc from 'fast-check'
import t from 'tap'
import { LogNumber } from '#cloud/log-number.ts'

const span = fc.tuple(fc.nat(60), fc.nat(12)).map(([from, length]) => [from, from + length] as const)

t.test('records, duplicates, gaps and losses add up, whenever the ledger speaks', async () => {
  const step = fc.oneof(
    fc.nat(50).map(offset => ({ offset })),
    span.map(range => ({ range })),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), steps => {
      let number = new LogNumber('e')
      let next = 0
      const taken = new Set<number>()
      const explained = new Set<number>()
      for (const item of steps) {
        if ('offset' in item) {
          if (number.take(item.offset, undefined) !== item.offset >= next) return false
          if (item.offset >= next) taken.add(item.offset)
          next = Math.max(next, item.offset + 1)
        } else {
          number.explain(...item.range)
          for (let n = item.range[0]; n < item.range[1]; n++) explained.add(n)
        }
        number = new LogNumber('e', JSON.parse(JSON.stringify(number.state())))
      }
      const missing = Array.from({ length: next }, (_, n) => n).filter(n => !taken.has(n))
      const gaps = missing.filter(n => !explained.has(n)).length
      return number.gaps === gaps && number.lost === missing.length - gaps && number.records === taken.size
    }),
  )
})
