import fc from 'fast-check'
import t from 'tap'
import { WireError } from '#base/wire/frame.ts'
import { failureBytes, logBytes, readAll, readBytes, resultBytes } from '../../fakes/record-bytes.ts'

t.test('every kind of record is read back', async t => {
  const [result, failure, log, read] = readAll(
    Buffer.concat([resultBytes(4, '{"a":1}', 2), failureBytes(5), logBytes(6), readBytes(7)]),
  )
  t.same(result, {
    kind: 'result',
    index: 4,
    startedAt: 1000,
    durationMs: 2,
    value: '{"a":1}',
    effects: [
      { type: 'publish', topic: 'out/x', payload: Buffer.from('payload'), qos: 2, retain: true },
      { type: 'set', key: 'key', value: '{"n":1}' },
      { type: 'delete', key: 'gone' },
    ],
    reads: ['read'],
  })
  t.same(failure, {
    kind: 'failure',
    index: 5,
    error: { errorType: 'TypeError', errorMessage: 'no', trace: ['at x'] },
  })
  t.same(log, { kind: 'log', index: 6, level: 'info', text: 'hello' })
  t.same(read, { kind: 'read', index: 7, call: 9, key: 'key' })
})

t.test(
  'bytes from a hostile executor are read or refused with an error of the protocol, never otherwise',
  async t => {
    const whole = Buffer.concat([resultBytes(0), failureBytes(1), logBytes(2), readBytes(3)])
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 8 }),
        fc.nat(whole.length),
        (flips, cut) => {
          const bytes = Buffer.from(whole.subarray(0, cut))
          for (const [at, value] of flips) if (at < bytes.length) bytes[at] = value
          try {
            readAll(bytes)
          } catch (error) {
            if (!(error instanceof WireError)) throw error
          }
        },
      ),
      { numRuns: 2000 },
    )
    t.pass()
  },
)
