/** Batch sizes and deadlines follow the link. */
import t from 'tap'
import { BatchSize } from '#uplink/batch-size.ts'

const sizes = { maxBytes: 1_000_000, maxRecords: 100, timeoutMs: 1_000 }

t.test('batches grow on a quick link up to the bound and shrink on a slow one', async t => {
  const size = new BatchSize(sizes)
  for (let i = 0; i < 20; i++) size.acknowledged(size.maxBytes, 10, 20)
  t.equal(size.maxBytes, 1_000_000)
  size.acknowledged(1_000_000, 10, 3_000)
  t.equal(size.maxBytes, 500_000)
  for (let i = 0; i < 20; i++) size.timedOut()
  t.equal(size.maxBytes, 4_096)
  size.acknowledged(100, 10, 1)
  t.equal(size.maxBytes, 4_096, 'a small batch says nothing about large ones')
})

t.test('a link of 50 kbit/s has deadlines in which its batches get through', async t => {
  const size = new BatchSize(sizes)
  const bytesPerS = 6_250
  let acknowledged = 0
  for (let i = 0; i < 20; i++) {
    const bytes = size.maxBytes
    const tookMs = (bytes / bytesPerS) * 1_000
    if (tookMs > size.timeoutMs(bytes)) size.timedOut()
    else {
      size.acknowledged(bytes, 10, tookMs)
      acknowledged += 1
    }
  }
  t.ok(acknowledged >= 18, `${acknowledged} of 20`)
  t.ok(size.maxBytes <= bytesPerS * 2)
  t.ok(size.timeoutMs(0) === 1_000, 'the answer alone has its time')
})
