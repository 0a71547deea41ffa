/**
 * Data folders that are copied, rolled back, or cut before a sync: every record reaches the endpoint, and none
 * is taken for a duplicate of another (D9).
 */
import { cp, readdir, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import t, { type Test } from 'tap'
import type { CloudEndpoint } from '#cloud/cloud.ts'
import {
  cloudAt,
  type DeviceOptions,
  get,
  type Loose,
  range,
  recordsOf,
  startDevice,
  temporary,
  until,
} from '../fakes/uplink-rig.ts'

/** Publishes numbers while the device runs; drains them when online. */
async function life(options: DeviceOptions, from: number, to: number): Promise<void> {
  await using device = await startDevice(options)
  await device.count(from, to)
  if (options.online !== false) await device.drained()
}

/** As an older image of the file system does: the same file and machine identities, older contents. */
async function setBackInPlace(folder: string, old: string): Promise<void> {
  const keep = 'store.json'
  for (const name of await readdir(folder))
    if (name !== keep) await rm(join(folder, name), { recursive: true })
  await cp(old, folder, { recursive: true, filter: source => basename(source) !== keep })
}

async function messagesAt(cloud: CloudEndpoint): Promise<Loose[]> {
  const records = await recordsOf(cloud)
  return records.filter(record => record.type === 'fescue.message.v1')
}

async function lossesAt(cloud: CloudEndpoint, reason: string): Promise<Loose[]> {
  const records = await recordsOf(cloud)
  return records.filter(record => record.data?.reason === reason)
}

/** Each `n` exactly once, each id exactly once. */
async function checkOnce(t: Test, cloud: CloudEndpoint, expected: readonly number[]): Promise<void> {
  const messages = await messagesAt(cloud)
  t.same(
    messages.map(message => message.data.n).sort((a, b) => a - b),
    expected,
  )
  t.equal(new Set(messages.map(message => message.id)).size, messages.length, 'no id names two records')
  t.match(await get(cloud, '/v1/devices/pi'), { gaps: 0 })
}

t.test('a folder rolled back by some minutes, then used offline over restarts', async t => {
  await using dir = await temporary()
  await using cloud = await cloudAt(`${dir.path}/cloud`)
  const folder = `${dir.path}/device`
  const device = { folder, url: cloud.url }
  await life(device, 0, 100)
  await life({ ...device, online: false }, 100, 110)
  await cp(folder, `${dir.path}/old`, { recursive: true })
  await life(device, 110, 160)
  await setBackInPlace(folder, `${dir.path}/old`)
  // The same offsets again, below and above what the endpoint has, in two lives before it is heard of.
  await life({ ...device, online: false }, 160, 180)
  await life({ ...device, online: false }, 180, 300)
  await life(device, 300, 310)
  await checkOnce(t, cloud, range(0, 310))
  t.match(await lossesAt(cloud, 'rollback'), [
    { data: { log: 'outbox.all.5', from: 110, to: 160, records: 50 } },
  ])
  await life(device, 310, 320)
  await checkOnce(t, cloud, range(0, 320))
  t.equal((await lossesAt(cloud, 'rollback')).length, 1, 'the finding is entered once')
})

t.test('a folder rolled back with nothing waiting in it', async t => {
  await using dir = await temporary()
  await using cloud = await cloudAt(`${dir.path}/cloud`)
  const folder = `${dir.path}/device`
  const device = { folder, url: cloud.url }
  await life(device, 0, 100)
  await cp(folder, `${dir.path}/old`, { recursive: true })
  await life(device, 100, 200)
  await setBackInPlace(folder, `${dir.path}/old`)
  await life(device, 200, 250)
  await checkOnce(t, cloud, range(0, 250))
})

t.test('a folder copied to another place: both go on as one device', async t => {
  await using dir = await temporary()
  await using cloud = await cloudAt(`${dir.path}/cloud`)
  const first = { folder: `${dir.path}/device`, url: cloud.url }
  const second = { folder: `${dir.path}/copy`, url: cloud.url }
  await life(first, 0, 50)
  await life({ ...first, online: false }, 50, 100)
  await cp(first.folder, second.folder, { recursive: true })
  {
    await using one = await startDevice({ ...first, online: false })
    await using two = await startDevice({ ...second, online: false })
    await one.count(100, 200)
    await two.count(200, 300)
    one.uplink.setOnline(true)
    two.uplink.setOnline(true)
    await Promise.all([one.drained(), two.drained()])
    await Promise.all([one.count(300, 350), two.count(350, 400)])
    await Promise.all([one.drained(), two.drained()])
  }
  await life(second, 400, 410)
  await life(first, 410, 420)
  await checkOnce(t, cloud, range(0, 420))
})

t.test('a folder copied while its daemon runs', async t => {
  await using dir = await temporary()
  await using cloud = await cloudAt(`${dir.path}/cloud`)
  const first = { folder: `${dir.path}/device`, url: cloud.url }
  const second = { folder: `${dir.path}/copy`, url: cloud.url }
  await using one = await startDevice(first)
  await one.count(0, 50)
  await one.drained()
  one.uplink.setOnline(false)
  await one.count(50, 100)
  await one.store.sync()
  await cp(first.folder, second.folder, { recursive: true })
  await one.count(100, 150)
  await life(second, 150, 200)
  one.uplink.setOnline(true)
  await one.drained()
  await checkOnce(t, cloud, range(0, 200))
})

t.test('power lost before a sync under class process', async t => {
  await using dir = await temporary()
  await using cloud = await cloudAt(`${dir.path}/cloud`)
  const folder = `${dir.path}/device`
  const device = { folder, url: cloud.url }
  {
    await using running = await startDevice({ ...device, online: false })
    await running.count(0, 100)
    await running.store.sync()
    // What is on disk now is what a loss of power leaves; the QoS 0 records after it were not synced.
    await cp(folder, `${dir.path}/synced`, { recursive: true })
    await running.count(100, 150, { qos: 0 })
    t.ok((running.store.findLog('outbox.all.5')?.end ?? 0) === 150, 'they were readable')
  }
  await setBackInPlace(folder, `${dir.path}/synced`)
  await life(device, 200, 300)
  await checkOnce(t, cloud, [...range(0, 100), ...range(200, 300)])
})

t.test('an unsynced record does not leave before its sync (D9)', async t => {
  await using dir = await temporary()
  await using cloud = await cloudAt(`${dir.path}/cloud`)
  await using device = await startDevice({ folder: `${dir.path}/device`, url: cloud.url })
  await device.count(0, 10)
  await device.drained()
  const { syncs } = device.store.stats
  await device.count(10, 20, { qos: 0 })
  await device.drained()
  t.ok(device.store.stats.syncs > syncs, 'the uplink asked for a sync')
  t.equal(device.store.findLog('outbox.all.5')?.synced, 20)
  await checkOnce(t, cloud, range(0, 20))
})

t.test('a running process set back with its folder begins a new epoch when it hears of it', async t => {
  await using dir = await temporary()
  await using cloud = await cloudAt(`${dir.path}/cloud`)
  await using device = await startDevice({ folder: `${dir.path}/device`, url: cloud.url })
  await device.count(0, 10)
  await device.drained()
  device.uplink.setOnline(false)
  const { epoch } = device.store
  const log = device.store.findLog('outbox.all.5')
  // The life that was undone: it sent ten records of this epoch, with ids that this one gives to others.
  const undone = range(10, 20).map(offset => ({
    specversion: '1.0',
    id: `pi/${epoch}/outbox.all.5.${log?.incarnation}/${offset}`,
    source: '//fescue/pi',
    type: 'fescue.message.v1',
    subject: 'count',
    fescuemsgid: `undone-${offset}`,
    data: { n: 1_000 + offset },
  }))
  const headers = { 'content-type': 'application/cloudevents-batch+json' }
  await fetch(cloud.url, { method: 'POST', headers, body: JSON.stringify(undone) })
  for (const [from, to] of [
    [10, 15],
    [15, 40],
  ] as const) {
    await device.count(from, to)
    device.uplink.setOnline(true)
    await until(() => device.uplink.status().links[0]?.queuedRecords === 0)
    device.uplink.setOnline(false)
  }
  t.not(device.store.epoch, epoch)
  await checkOnce(t, cloud, [...range(0, 40), ...range(1_010, 1_020)])
  device.uplink.setOnline(true)
  await until(async () => (await lossesAt(cloud, 'rollback')).length > 0)
})

t.test('the same, when it has gone beyond the number: the message id before it tells', async t => {
  await using dir = await temporary()
  await using cloud = await cloudAt(`${dir.path}/cloud`)
  await using device = await startDevice({ folder: `${dir.path}/device`, url: cloud.url })
  await device.count(0, 10)
  await device.drained()
  device.uplink.setOnline(false)
  const { epoch } = device.store
  const id = `pi/${epoch}/outbox.all.5.${device.store.findLog('outbox.all.5')?.incarnation}`
  const undone = range(10, 20).map(offset => ({
    specversion: '1.0',
    id: `${id}/${offset}`,
    source: '//fescue/pi',
    type: 'fescue.message.v1',
    subject: 'count',
    fescuemsgid: `undone-${offset}`,
    data: { n: 1_000 + offset },
  }))
  const headers = { 'content-type': 'application/cloudevents-batch+json' }
  await fetch(cloud.url, { method: 'POST', headers, body: JSON.stringify(undone) })
  await device.count(10, 50)
  device.uplink.setOnline(true)
  await device.drained()
  t.not(device.store.epoch, epoch)
  await checkOnce(t, cloud, [...range(0, 50), ...range(1_010, 1_020)])
})
