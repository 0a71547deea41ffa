import t from 'tap'
import { formatAgo, formatBytes, formatCount, formatDuration, formatPayload } from '#cli/format.ts'

t.test('sizes have at most four figures and a unit', async t => {
  t.equal(formatBytes(0), '0 B')
  t.equal(formatBytes(1023), '1023 B')
  t.equal(formatBytes(1024), '1.0 KiB')
  t.equal(formatBytes(4.1 * 2 ** 20), '4.1 MiB')
  t.equal(formatBytes(300 * 2 ** 30), '300 GiB')
})

t.test('spans show their two largest units', async t => {
  t.equal(formatDuration(-5), '0ms')
  t.equal(formatDuration(850), '850ms')
  t.equal(formatDuration(12_000), '12s')
  t.equal(formatDuration(2 * 3_600_000 + 45 * 60_000 + 7_000), '2h 45m')
  t.equal(formatDuration(41 * 86_400_000 + 3 * 3_600_000), '41d 3h')
  t.equal(formatDuration(86_400_000), '1d')
})

t.test('counts are grouped, and what never was is said so', async t => {
  t.equal(formatCount(1234567), '1,234,567')
  t.equal(formatAgo(undefined, 5_000), 'never')
  t.equal(formatAgo(3_000, 5_000), '2s ago')
})

t.test('a payload cannot steer the terminal', async t => {
  t.equal(formatPayload('a\u001b[31mb\nc'), 'a\\u001b[31mb\\nc')
  t.notMatch(formatPayload('\u009b31m\u007f'), /[\u007f-\u009f]/)
  t.equal(formatPayload('x'.repeat(100), 10), `${'x'.repeat(9)}…`)
})
