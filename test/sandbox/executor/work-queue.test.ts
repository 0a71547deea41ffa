import t from 'tap'
import { decodeItems, encodeItems } from '#base/wire/items.ts'
import { VersionCheck } from '#sandbox/executor/version-check.ts'
import { WorkQueue } from '#sandbox/executor/work-queue.ts'
import { itemOf } from '../../fakes/sandbox-rig.ts'

const chunkOf = (first: number, keys: readonly string[]) => {
  const items = keys.map((orderKey, n) => itemOf(first + n, first + n, { orderKey }))
  return decodeItems(Buffer.concat(encodeItems({ run: 1, first, items, last: true }, 'json', true)), 'json')
}
const none = new Set<string>()

t.test('items are given out whole, in order, and come again where they were when put back', async t => {
  const queue = new WorkQueue('json')
  queue.add(chunkOf(0, ['a', 'b']))
  queue.add(chunkOf(2, ['c']))
  const chunk = queue.takeChunk()
  t.same([chunk?.first, chunk?.count], [0, 2])
  if (chunk !== undefined) queue.putBack(chunk)
  t.same([queue.takeOne(none)?.first, queue.takeOne(none)?.first, queue.takeOne(none)?.first], [0, 1, 2])
  t.equal(queue.empty, true)
  t.equal(queue.takeOne(none), undefined)
})

t.test('an item whose key is busy waits, and so do those behind it with that key', async t => {
  const queue = new WorkQueue('json')
  queue.add(chunkOf(0, ['a', 'a', 'b', 'c']))
  queue.add(chunkOf(4, ['a', 'd']))
  t.equal(queue.takeOne(new Set(['a', 'b']))?.first, 3)
  t.equal(queue.takeOne(new Set(['a', 'b']))?.first, 5)
  t.equal(queue.takeOne(new Set(['a', 'b'])), undefined)
  const order = [0, 0, 0, 0].map(() => queue.takeOne(none)?.first)
  t.same(order, [0, 1, 2, 4])
})

t.test('a read conflicts with what was written after the snapshot, and with nothing else', async t => {
  const versions = new VersionCheck()
  versions.commit(['early'])
  const snapshot = versions.snapshot()
  versions.commit(['late'])
  versions.commit([])
  t.equal(versions.conflicts(snapshot, ['early', 'never']), false)
  t.equal(versions.conflicts(snapshot, ['never', 'late']), true)
  t.equal(versions.conflicts(versions.snapshot(), ['late']), false)
  versions.clear()
  t.equal(versions.conflicts(snapshot, ['late']), false)
})
