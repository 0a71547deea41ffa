/** A cloud that is away: what waits for it is on disk, not in memory, and leaves in order. */
import t from 'tap'
import { blast } from '../harness/blast.ts'
import { cloudRecords } from '../harness/evidence.ts'
import { residentBytes } from '../harness/processes.ts'
import { World } from '../harness/world.ts'

t.setTimeout(110_000)

const growthMaxBytes = 20 * 1024 * 1024
const records = 100_000

interface Status {
  readonly uplinks: readonly { readonly records: number }[]
}

t.test('100,000 records wait offline in 20 MB at most, and drain in order', async t => {
  await using world = await World.create({ functions: {} })
  await world.startDaemon()
  const pad = 'x'.repeat(180)
  const publish = (from: number, count: number) =>
    blast({
      port: world.mqttPort,
      topic: 'in/p/0',
      count,
      payload: n => JSON.stringify({ p: 'p', n: from + n, pad }),
    })
  const warm = 30_000
  await publish(0, warm)
  const before = residentBytes(world.daemon!.pid)!
  const { seconds } = await publish(warm, records)
  const grown = residentBytes(world.daemon!.pid)! - before
  t.comment(
    `${Math.round(records / seconds)} messages/s in, resident memory grew by ${Math.round(grown / 1024)} KiB`,
  )
  t.ok(grown <= growthMaxBytes, `${Math.round(grown / 1024 / 1024)} MiB more for ${records} records`)

  const startedAt = performance.now()
  await world.startEndpoint()
  for (;;) {
    const { uplinks } = await world.api<Status>('/api/v1/status')
    if (uplinks[0]?.records === 0) break
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  t.comment(`drained ${Math.round((warm + records) / ((performance.now() - startedAt) / 1000))} records/s`)
  const received = await cloudRecords(world)
  t.equal(received.length, warm + records)
  t.ok(
    received.every((record, n) => record.data.n === n),
    'each once, in order',
  )
})
