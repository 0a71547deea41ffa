/** The mqtt connector against a real mosquitto: what arrives, in which order, and what a broker's refusals become. */
import { writeFile } from 'node:fs/promises'
import t from 'tap'
import { type Labels, type Metrics, noMetrics } from '#base/metrics.ts'
import {
  cloudAt,
  mqttUplink,
  numbersAt,
  range,
  routeAll,
  startDevice,
  temporary,
  until,
} from '../fakes/uplink-rig.ts'
import { certificates, collect, firsts, run, startMosquitto } from '../harness/brokers.ts'
import { need } from '../harness/need.ts'

t.setTimeout(100_000)

const skip = need('mosquitto')

t.test('records leave in order, the payload as it is, with their id', { skip }, async t => {
  await using dir = await temporary()
  await using broker = await startMosquitto({ folder: dir.path })
  await using cloud = await collect(broker.url, 'site/#')
  const uplinks = [mqttUplink(broker.url, { topic: 'site/{device}/{topic}' })]
  await using device = await startDevice({ folder: `${dir.path}/device`, url: '', uplinks })
  await device.publish('sensors/raw', Buffer.from([0xff, 0]), { hops: 2, expiresAt: Date.now() + 60_000 })
  await device.count(0, 1_000)
  await device.drained()
  await until(() => cloud.packets.length === 1_001)
  const { epoch } = device.store
  const incarnation = device.store.findLog('outbox.all.5')?.incarnation
  t.match(cloud.packets[0], {
    topic: 'site/pi/sensors/raw',
    payload: Buffer.from([0xff, 0]),
    properties: {
      messageExpiryInterval: 60,
      userProperties: { 'fescue-id': `pi/${epoch}/outbox.all.5.${incarnation}/0`, 'fescue-hops': '2' },
    },
  })
  t.same(
    cloud.packets.slice(1).map(({ payload }) => JSON.parse(payload.toString()).n),
    range(0, 1_000),
  )
  t.match(device.uplink.status().links, [
    { link: { state: 'connected' }, queuedRecords: 0, sentRecords: 1_001 },
  ])
})

t.test('format cloudevents: one event each, with its id, and losses beside', { skip }, async t => {
  await using dir = await temporary()
  await using broker = await startMosquitto({ folder: dir.path })
  await using cloud = await collect(broker.url, '#')
  const uplinks = [mqttUplink(broker.url, { format: 'cloudevents' })]
  await using device = await startDevice({ folder: `${dir.path}/device`, url: '', uplinks, online: false })
  await device.publish('late', { n: 0 }, { expiresAt: Date.now() - 1 })
  await device.publish('sensors/a', { n: 1 })
  await device.publish('sensors/a', { n: 2 })
  device.uplink.setOnline(true)
  await until(() => cloud.packets.length === 3)
  const { epoch } = device.store
  t.equal(cloud.packets[0]?.properties?.contentType, 'application/cloudevents+json')
  const events = cloud.packets.map(({ topic, payload }) => ({ topic, ...JSON.parse(payload.toString()) }))
  t.match(events, [
    { topic: 'fescue/lost', type: 'fescue.loss.v1', data: { reason: 'expired', from: 0, to: 1 } },
    {
      topic: 'sensors/a',
      specversion: '1.0',
      id: new RegExp(`^pi/${epoch}/outbox\\.all\\.5\\.\\d+/1$`),
      fescuebase: String,
      subject: 'sensors/a',
      data: { n: 1 },
    },
    { id: /\/2$/, data: { n: 2 } },
  ])
  t.notOk('fescuebase' in events[2], 'only the first of an epoch says where it begins')
})

t.test('a wrong password is a named state, tried slowly; the right one mends it', { skip }, async t => {
  await using dir = await temporary()
  const passwords = `${dir.path}/passwords`
  await run('mosquitto_passwd', ['-b', '-c', passwords, 'pi', 'right'])
  await using broker = await startMosquitto({ folder: dir.path, config: `password_file ${passwords}` })
  const device = (password: string) =>
    startDevice({
      folder: `${dir.path}/device`,
      url: '',
      uplinks: [mqttUplink(broker.url, { username: 'pi', password })],
    })
  {
    await using wrong = await device('wrong')
    const link = () => wrong.uplink.status().links[0]?.link
    await wrong.count(0, 10)
    await until(() => link()?.state === 'refused')
    t.match(link(), { reason: /Not authorized \(0x87\)|Bad User Name or Password \(0x86\)/ })
    t.equal(wrong.uplink.status().links[0]?.queuedRecords, 10, 'nothing is given up')
  }
  await using cloud = await collect(broker.url, 'count', { username: 'pi', password: 'right' })
  await using right = await device('right')
  await right.drained()
  await until(() => cloud.packets.length === 10)
  t.same(cloud.numbers(), range(0, 10))
})

t.test(
  'TLS with a client certificate; without one the link is refused',
  { skip: need('mosquitto', 'openssl') },
  async t => {
    await using dir = await temporary()
    const { ca, cert, key } = await certificates(dir.path)
    const config = `cafile ${ca}\ncertfile ${cert}\nkeyfile ${key}\nrequire_certificate true`
    await using broker = await startMosquitto({ folder: dir.path, config })
    const url = broker.url.replace('mqtt://127.0.0.1', 'mqtts://localhost')
    const device = (tls: { ca?: string; cert?: string; key?: string }) =>
      startDevice({ folder: `${dir.path}/device`, url: '', uplinks: [mqttUplink(url, {}, tls)] })
    const stateOf = async (tls: { ca?: string; cert?: string; key?: string }, state: string) => {
      await using started = await device(tls)
      await started.count(0, 5)
      const link = () => started.uplink.status().links[0]
      await until(() => link()?.link.state === state)
      if (state === 'connected') await started.drained()
      return link()
    }
    t.match(await stateOf({ ca }, 'refused'), { link: { reason: /certificate/i }, queuedRecords: 5 })
    t.match(await stateOf({}, 'offline'), { link: { reason: /certificate/i }, queuedRecords: 10 })
    t.match(await stateOf({ ca, cert, key }, 'connected'), { queuedRecords: 0, sentRecords: 15 })
  },
)

t.test(
  'the broker restarts in the middle of batches: nothing lost, in order of first arrival',
  { skip },
  async t => {
    await using dir = await temporary()
    await using broker = await startMosquitto({ folder: dir.path })
    await using cloud = await collect(broker.url, 'count')
    const uplinks = [mqttUplink(broker.url)]
    await using device = await startDevice({ folder: `${dir.path}/device`, url: '', uplinks })
    let n = 0
    for (let restart = 0; restart < 4; restart++) {
      await device.count(n, n + 2_000, {}, 'x'.repeat(100))
      n += 2_000
      const before = cloud.packets.length
      await until(() => cloud.packets.length > before)
      await broker.stop()
      await until(() => device.uplink.status().links[0]?.link.state === 'offline')
      await broker.start()
    }
    await device.drained()
    await until(() => firsts(cloud.numbers()).length === n)
    t.same(firsts(cloud.numbers()), range(0, n))
    t.comment(`${cloud.packets.length - n} sent again`)
  },
)

t.test('what the broker does not take is put aside, and the rest goes on', { skip }, async t => {
  await using dir = await temporary()
  await writeFile(
    `${dir.path}/acl`,
    'topic readwrite count\ntopic readwrite fescue/lost\ntopic readwrite big',
  )
  const config = 'max_packet_size 2000\nmessage_size_limit 1500\nacl_file {folder}/acl'
  await using broker = await startMosquitto({ folder: dir.path, config })
  await using cloud = await collect(broker.url, '+')
  const uplinks = [mqttUplink(broker.url)]
  await using device = await startDevice({ folder: `${dir.path}/device`, url: '', uplinks, online: false })
  await device.count(0, 50)
  await device.publish('forbidden', { n: -1 })
  await device.count(50, 100)
  await device.publish('big', 'x'.repeat(1_700))
  await device.count(100, 150)
  await device.publish('big', 'x'.repeat(3_000))
  await device.count(150, 200)
  device.uplink.setOnline(true)
  await device.drained()
  await until(() => firsts(cloud.numbers()).length === 200)
  t.same(firsts(cloud.numbers()), range(0, 200))
  t.match(device.uplink.status().links, [{ rejectedRecords: 3 }])
  const refused = device.store.findLog('refused.all.5')
  const { records = [] } = (await refused?.read(0, { maxRecords: 10, maxBytes: 1e6 })) ?? {}
  t.match(
    records.map(({ topic, extra = '{}' }) => [topic, JSON.parse(extra).error.message]),
    [
      ['forbidden', /Not authorized \(0x87\)/],
      ['big', /a reason that MQTT does not know/],
      ['big', /the packet has 30\d\d bytes, and the broker takes 2000/],
    ],
  )
  t.equal(device.store.stats.lost.rejected, 3, 'and stands in the ledger')
})

t.test('two uplinks: one broker is down, the other link goes on, and each is named', { skip }, async t => {
  await using dir = await temporary()
  await using broker = await startMosquitto({ folder: dir.path })
  await using http = await cloudAt(`${dir.path}/cloud`)
  await broker.stop()
  const gauges = new Map<string, () => Iterable<{ labels: Labels; value: number }>>()
  const metrics = {
    ...noMetrics,
    collect: (...[name, , , read]: Parameters<Metrics['collect']>) => void gauges.set(name, read),
  }
  const far = { ...mqttUplink(broker.url), name: 'far' }
  await using device = await startDevice({
    folder: `${dir.path}/device`,
    url: '',
    metrics,
    uplinks: [{ name: 'near', connector: 'http', url: http.url, token: undefined, tls: {} }, far],
    routes: [routeAll({ to: 'near', name: 'near' }), routeAll({ to: 'far', name: 'far' })],
  })
  await device.count(0, 500)
  const links = () => device.uplink.status().links
  let seen = links()
  await until(() => {
    seen = links()
    return seen[0]?.queuedRecords === 0 && seen[1]?.link.state === 'offline'
  })
  t.same(await numbersAt(http), range(0, 500))
  t.match(seen, [
    { uplink: 'near', link: { state: 'connected' } },
    { uplink: 'far', link: { state: 'offline', reason: /ECONNREFUSED/ }, queuedRecords: 500 },
  ])
  const values = (name: string) =>
    [...(gauges.get(name)?.() ?? [])].map(({ labels, value }) => [labels.uplink, value])
  t.same(values('fescue_uplink_connected'), [
    ['near', 1],
    ['far', 0],
  ])
  t.same(values('fescue_uplink_queued_records'), [
    ['near', 0],
    ['far', 500],
  ])
  await broker.start()
  await using cloud = await collect(broker.url, 'count')
  await device.drained()
  t.equal(cloud.client.connected, true)
  t.match(links(), [{}, { link: { state: 'connected' }, sentRecords: 500 }])
})
