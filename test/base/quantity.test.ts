/** Sizes and durations as people write them. */
import fc from 'fast-check'
import t from 'tap'
import {
  byteSizePattern,
  bytesText,
  durationPattern,
  durationText,
  parseBytes,
  parseDuration,
} from '#base/quantity.ts'

t.test('sizes', async t => {
  const cases: [string | number, number | undefined][] = [
    [0, 0],
    [512, 512],
    ['512', 512],
    ['64MiB', 64 * 2 ** 20],
    ['64 MiB', 64 * 2 ** 20],
    ['1.5GiB', 1.5 * 2 ** 30],
    ['1kB', 1_000],
    ['1K', 1_000],
    ['2TB', 2e12],
    ['7B', 7],
    [-1, undefined],
    [Number.NaN, undefined],
    ['', undefined],
    ['MiB', undefined],
    ['64 mib', undefined],
    ['1e3', undefined],
    ['-1', undefined],
    ['9'.repeat(30), undefined],
  ]
  for (const [text, bytes] of cases) t.equal(parseBytes(text), bytes, String(text))
})

t.test('durations', async t => {
  const cases: [string | number, number | undefined][] = [
    [0, 0],
    [1_500, 1_500],
    ['1500', 1_500],
    ['250ms', 250],
    ['10s', 10_000],
    ['1.5h', 5_400_000],
    ['7d', 7 * 86_400_000],
    ['1h30m', 5_400_000],
    ['1h 30m', 5_400_000],
    ['5 m', 300_000],
    ['10x', undefined],
    ['s', undefined],
    ['1h30', undefined],
    ['', undefined],
    [-5, undefined],
    [`${'9'.repeat(20)}d`, undefined],
  ]
  for (const [text, ms] of cases) t.equal(parseDuration(text), ms, String(text))
})

t.test('what is written is read back, and the schema patterns take what the parsers take', async t => {
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(fc.maxSafeNat(), value => {
        const bytes = bytesText(value)
        const duration = durationText(value)
        return (
          parseBytes(bytes) === value &&
          parseDuration(duration) === value &&
          new RegExp(byteSizePattern).test(bytes) &&
          new RegExp(durationPattern).test(duration)
        )
      }),
    ),
  )
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'0123.9 kKMGTiBmshd'), maxLength: 8 }), text => {
      const bytes = new RegExp(byteSizePattern).test(text) === (parseBytes(text) !== undefined)
      const duration = new RegExp(durationPattern).test(text) === (parseDuration(text) !== undefined)
      return bytes && duration
    }),
    { numRuns: 2_000 },
  )
})

t.test('a hostile text is refused quickly', async t => {
  const started = performance.now()
  t.equal(parseDuration(`${'1s '.repeat(50_000)}!`), undefined)
  t.equal(parseBytes(`${'1'.repeat(100_000)}!`), undefined)
  t.ok(performance.now() - started < 1_000)
})
