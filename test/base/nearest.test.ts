/** "Did you mean": near names are found, far ones are not proposed. */
import fc from 'fast-check'
import t from 'tap'
import { editDistance, nearest } from '#base/nearest.ts'

t.test('typical slips find their name', async t => {
  const names = ['port', 'host', 'maxPacketBytes', 'filter', 'priority', 'overflow']
  const slips = {
    prot: 'port',
    Port: 'port',
    hosst: 'host',
    maxpacketbyte: 'maxPacketBytes',
    fliter: 'filter',
    prority: 'priority',
  }
  for (const [slip, name] of Object.entries(slips)) t.equal(nearest(slip, names), name, slip)
})

t.test('what is far from all is not guessed', async t => {
  t.equal(nearest('banana', ['port', 'host']), undefined)
  t.equal(nearest('port', []), undefined)
  t.equal(nearest('x'.repeat(10_000), ['x'.repeat(9_999)]), undefined, 'nor what is too long to compare')
})

t.test('the distance is a metric on what it needs to be, and a swap is one edit', async t => {
  t.equal(editDistance('ab', 'ba'), 1)
  t.equal(editDistance('', 'abc'), 3)
  fc.assert(
    fc.property(fc.string({ maxLength: 12 }), fc.string({ maxLength: 12 }), (a, b) => {
      const edits = editDistance(a, b)
      return (
        edits === editDistance(b, a) &&
        (edits === 0) === (a === b) &&
        edits <= Math.max(a.length, b.length) &&
        edits >= Math.abs(a.length - b.length)
      )
    }),
  )
})
