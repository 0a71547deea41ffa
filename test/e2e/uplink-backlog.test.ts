/** A large backlog: it takes no memory, and drains in order while new records come. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { cloudAt, get, numbersAt, startDevice, temporary, until } from '../fakes/uplink-rig.ts'

const mebibyte = 1024 * 1024
const records = 100_000

setFlagsFromString('--expose_gc')
const collect: () => void = runInNewContext('gc')

/** What is alive in the heap and in buffers; resident memory besides holds what V8 has not given back yet. */
function liveBytes(): number {
  collect()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

t.test('100,000 records offline take no memory, and drain in order', async t => {
  await using dir = await temporary()
  await using cloud = await cloudAt(`${dir.path}/cloud`)
  await using device = await startDevice({ folder: `${dir.path}/device`, url: cloud.url, online: false })
  // The first thousands fill the bounded caches; all of the rest would take some 50 MiB.
  const pad = 'x'.repeat(400)
  await device.count(0, 20_000, {}, pad)
  const before = liveBytes()
  await device.count(20_000, records, {}, pad)
  // What is on its way to disk is still in memory, as much as the disk lags behind.
  await device.store.sync()
  await until(() => liveBytes() - before <= 20 * mebibyte)
  const grown = (liveBytes() - before) / mebibyte
  t.ok(grown <= 20, `${grown.toFixed(1)} MiB for ${records - 20_000} records`)

  const sent = () => device.uplink.status().links[0]?.sentRecords ?? 0
  const started = performance.now()
  device.uplink.setOnline(true)
  await until(() => sent() > records / 2)
  device.uplink.setOnline(false)
  const perSecond = Math.round(sent() / ((performance.now() - started) / 1_000))
  t.comment(`${perSecond} records/s from disk to disk, both ends in this process`)
  const halfway = (liveBytes() - before) / mebibyte
  t.ok(halfway <= 40, `${halfway.toFixed(1)} MiB while it drains, those of the endpoint included`)

  device.uplink.setOnline(true)
  await device.count(records, records + 1_000)
  await device.drained()
  t.match(await get(cloud, '/v1/devices/pi'), { records: records + 1_000, gaps: 0 })
  const numbers = await numbersAt(cloud)
  t.equal(numbers.length, records + 1_000)
  t.ok(
    numbers.every((n, i) => n === i),
    'in order',
  )
})
