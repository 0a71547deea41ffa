import fc from 'fast-check'
import t from 'tap'
import { walkRecords } from '#sandbox/executor/record-walk.ts'
import { failureBytes, logBytes, readAll, readBytes, resultBytes } from '../../fakes/record-bytes.ts'

t.test('a walk keeps what is whole and takes failures out', async t => {
  const bytes = Buffer.concat([
    resultBytes(0),
    logBytes(1),
    failureBytes(1),
    logBytes(1),
    resultBytes(2).subarray(0, 30),
  ])
  const { parts, results, failure } = walkRecords(bytes, 0)
  t.equal(results, 1)
  t.match(failure, { index: 1, error: { errorType: 'TypeError' } })
  t.same(
    readAll(Buffer.concat(parts)).map(record => record.kind),
    ['result', 'log', 'log'],
  )
  const logs = walkRecords(Buffer.concat([resultBytes(0), logBytes(0), readBytes(0)]), 0, 'logs')
  t.same(
    readAll(Buffer.concat(logs.parts)).map(record => record.kind),
    ['log'],
  )
  t.equal(logs.results, 1, 'results are counted all the same')
})

t.test('a long entry leaves in parts that fit their frames', async t => {
  const bytes = Buffer.concat(Array.from({ length: 40 }, (_, n) => resultBytes(n, 'x'.repeat(600_000))))
  const { parts, results } = walkRecords(bytes, 0)
  t.equal(results, 40)
  t.ok(Math.max(...parts.map(part => part.length)) < 2_500_000)
  t.ok(Buffer.concat(parts).equals(bytes))
})

t.test('results below a millisecond share the time of their entry', async t => {
  const { parts } = walkRecords(
    Buffer.concat([resultBytes(0), resultBytes(1), resultBytes(2, 'null', 7)]),
    1.5,
  )
  const durations = readAll(Buffer.concat(parts)).map(record => record.kind === 'result' && record.durationMs)
  t.same(durations, [0.5, 0.5, 7])
})

t.test('a walk over broken bytes never throws', async t => {
  const whole = Buffer.concat([resultBytes(0), failureBytes(1), logBytes(2), readBytes(3)])
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 8 }), flips => {
      const bytes = Buffer.from(whole)
      for (const [at, value] of flips) bytes[at] = value
      walkRecords(bytes, 1)
    }),
    { numRuns: 1000 },
  )
  t.pass()
})
