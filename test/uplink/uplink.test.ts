/** Device and endpoint over real HTTP: what arrives, in which order, and what the status says. */
import t from 'tap'
import {
  cloudAt,
  get,
  numbersAt,
  range,
  recordsOf,
  routeAll,
  startDevice,
  temporary,
  until,
} from '../fakes/uplink-rig.ts'

t.test('messages arrive once, in order, as CloudEvents', async t => {
  await using dir = await temporary()
  await using cloud = await cloudAt(`${dir.path}/cloud`)
  await using device = await startDevice({ folder: `${dir.path}/device`, url: cloud.url })
  await device.publish('sensors/a/temperature', { celsius: 21.5 })
  await device.publish('sensors/a/raw', Buffer.from([0xff, 0]))
  await device.publish('sensors/ä "q"/text', Buffer.from('on'), { qos: 0 })
  await device.drained()
  const records = await recordsOf(cloud)
  const { epoch } = device.store
  t.match(records, [
    {
      specversion: '1.0',
      id: `pi/${epoch}/outbox.all.5.${device.store.findLog('outbox.all.5')?.incarnation}/0`,
      source: '//fescue/pi',
      type: 'fescue.message.v1',
      subject: 'sensors/a/temperature',
      datacontenttype: 'application/json',
      fescueqos: 1,
      fescuemsgid: String,
      time: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
      data: { celsius: 21.5 },
      index: 0,
    },
    { data_base64: '/wA=', datacontenttype: 'application/octet-stream', index: 1 },
    { subject: 'sensors/ä "q"/text', data_base64: 'b24=' },
  ])
  t.match(device.uplink.status().links, [
    {
      link: { state: 'connected' },
      queuedRecords: 0,
      lastAckAt: Number,
      sentRecords: 3,
      logs: [{ records: 0, acknowledged: 3 }],
    },
  ])
})

t.test('what was published offline drains in order, over restarts of the device', async t => {
  await using dir = await temporary()
  await using cloud = await cloudAt(`${dir.path}/cloud`)
  const folder = `${dir.path}/device`
  for (let start = 0; start < 3; start++) {
    await using device = await startDevice({ folder, url: cloud.url, online: false })
    await device.count(start * 1_000, (start + 1) * 1_000)
    t.match(device.uplink.status().links, [
      { link: { state: 'cut' }, queuedRecords: (start + 1) * 1_000, oldestAt: Number },
    ])
  }
  await using device = await startDevice({ folder, url: cloud.url })
  await device.drained()
  t.same(await numbersAt(cloud), range(0, 3_000))
  t.match(await get(cloud, '/v1/devices/pi'), { records: 3_000, gaps: 0, duplicates: 0 })
})

t.test('the link is cut and restored', async t => {
  await using dir = await temporary()
  await using cloud = await cloudAt(`${dir.path}/cloud`)
  await using device = await startDevice({ folder: `${dir.path}/device`, url: cloud.url })
  await device.count(0, 10)
  await device.drained()
  device.uplink.setOnline(false)
  t.equal(device.uplink.isOnline, false)
  await device.count(10, 20)
  t.match(device.uplink.status().links, [{ link: { state: 'cut' }, queuedRecords: 10 }])
  device.uplink.setOnline(true)
  await device.drained()
  t.same(await numbersAt(cloud), range(0, 20))
})

t.test('of two links one is cut, and only that one', async t => {
  await using dir = await temporary()
  await using near = await cloudAt(`${dir.path}/near`)
  await using far = await cloudAt(`${dir.path}/far`)
  const link = (name: string, url: string) => ({
    name,
    connector: 'http' as const,
    url,
    token: undefined,
    tls: {},
  })
  await using device = await startDevice({
    folder: `${dir.path}/device`,
    url: near.url,
    uplinks: [link('near', near.url), link('far', far.url)],
    routes: [routeAll({ to: 'near', name: 'near' }), routeAll({ to: 'far', name: 'far' })],
  })
  await device.drained()
  device.uplink.setOnline(false, 'far')
  t.equal(device.uplink.isOnline, false)
  await device.count(0, 10)
  await until(() => device.uplink.status().links[0]?.queuedRecords === 0)
  t.match(device.uplink.status().links, [
    { uplink: 'near', link: { state: 'connected' } },
    { uplink: 'far', link: { state: 'cut' }, queuedRecords: 10 },
  ])
  t.throws(() => device.uplink.setOnline(true, 'fra'), { code: 'FESCUE_NOT_FOUND' })
  device.uplink.setOnline(true, 'far')
  await device.drained()
  t.same(await numbersAt(far), range(0, 10))
})

t.test('a link that cannot connect does not hold up the end', async t => {
  await using dir = await temporary()
  await using device = await startDevice({
    folder: `${dir.path}/device`,
    url: 'http://127.0.0.1:9/v1/events',
    timings: { reconnectInitialMs: 60_000, reconnectMaxMs: 60_000 },
  })
  await until(() => device.uplink.status().links[0]?.link.state === 'offline')
  const startedAt = performance.now()
  await device.uplink.drain(10_000)
  t.ok(performance.now() - startedAt < 2_000)
})

t.test('the bound of the outbox is for all routes together; another share is worked out anew', async t => {
  await using dir = await temporary()
  const bounds = async (more: Parameters<typeof startDevice>[0]) => {
    await using device = await startDevice(more)
    return ['one', 'two', 'own'].map(name => device.store.findLog(`outbox.${name}.5`)?.limits.maxBytes)
  }
  const routes = [
    routeAll({ name: 'one' }),
    routeAll({ name: 'two' }),
    routeAll({ name: 'own', maxBytes: 7_000 }),
  ]
  const device = { folder: `${dir.path}/device`, url: 'http://127.0.0.1:9/', online: false, routes }
  t.same(await bounds({ ...device, outbox: { bytes: 1_000_000 } }), [500_000, 500_000, 7_000])
  t.same(await bounds({ ...device, outbox: { diskShare: 0.25 } }), [5e8, 5e8, 7_000])
  t.same(
    await bounds({ ...device, outbox: { diskShare: 0.25 }, freeDiskBytes: 1e6 }),
    [5e8, 5e8, 7_000],
    'kept',
  )
  t.same(await bounds({ ...device, outbox: { diskShare: 0.5 } }), [1e9, 1e9, 7_000])
})

t.test(
  'what the outbox drops while the link comes and goes is explained, and the rest arrives once, in order',
  async t => {
    await using dir = await temporary()
    await using cloud = await cloudAt(`${dir.path}/cloud`)
    await using device = await startDevice({
      folder: `${dir.path}/device`,
      url: cloud.url,
      routes: [routeAll({ maxBytes: 200_000 })],
    })
    const pad = 'x'.repeat(500)
    await device.count(0, 10)
    await device.drained()
    for (let round = 0; round < 12; round++) {
      device.uplink.setOnline(round % 3 !== 0)
      await device.count(10 + round * 500, 510 + round * 500, {}, pad)
    }
    device.uplink.setOnline(true)
    await device.drained()
    const view = await get(cloud, '/v1/devices/pi')
    const log = view.logs.find((each: { log: string }) => each.log.startsWith('outbox.'))
    t.ok(log.lost > 0, `${log.lost} dropped`)
    t.equal(log.gaps, 0)
    t.equal(log.records + log.lost, 6_010)
    const numbers = await numbersAt(cloud)
    t.same(
      numbers,
      [...new Set(numbers)].sort((a, b) => a - b),
    )
  },
)

t.test(
  'an expired record is not sent; the ledger entry that explains it comes before what follows',
  async t => {
    await using dir = await temporary()
    await using cloud = await cloudAt(`${dir.path}/cloud`)
    await using device = await startDevice({
      folder: `${dir.path}/device`,
      url: cloud.url,
      online: false,
      routes: [routeAll({ ttlMs: 60_000 })],
    })
    await device.count(0, 10)
    await device.count(10, 20, { time: Date.now() - 120_000 })
    await device.count(20, 30)
    device.uplink.setOnline(true)
    await device.drained()
    const records = await recordsOf(cloud)
    const messages = records.filter(record => record.type === 'fescue.message.v1')
    t.same(
      messages.map(record => record.data.n),
      [...range(0, 10), ...range(20, 30)],
    )
    const entry = records.find(record => record.type === 'fescue.loss.v1')
    t.match(entry, { data: { log: 'outbox.all.5', from: 10, to: 20, records: 10, reason: 'expired' } })
    t.ok(entry.index < messages[10].index, 'the entry precedes the first record after the gap')
    t.match(await get(cloud, '/v1/devices/pi'), { gaps: 0, lost: 10 })
  },
)

t.test('an outbox at its bound drops oldest, into the ledger, and the endpoint sees no gap', async t => {
  await using dir = await temporary()
  await using cloud = await cloudAt(`${dir.path}/cloud`)
  await using device = await startDevice({
    folder: `${dir.path}/device`,
    url: cloud.url,
    online: false,
    routes: [routeAll({ maxBytes: 200_000 })],
  })
  await device.count(0, 10_000)
  device.uplink.setOnline(true)
  await device.drained()
  const numbers = await numbersAt(cloud)
  t.ok(numbers.length > 100 && numbers.length < 9_000, `${numbers.length} kept`)
  t.same(numbers, range(10_000 - numbers.length, 10_000), 'the newest, in order')
  t.match(await get(cloud, '/v1/devices/pi'), { gaps: 0, lost: 10_000 - numbers.length })
})

t.test('a higher priority goes first, each in order; a lower one still moves', async t => {
  await using dir = await temporary()
  await using cloud = await cloudAt(`${dir.path}/cloud`)
  const routes = [
    routeAll({ name: 'low', filter: 'low', priority: 0 }),
    routeAll({ name: 'high', filter: 'high', priority: 9 }),
  ]
  await using device = await startDevice({
    folder: `${dir.path}/device`,
    url: cloud.url,
    online: false,
    routes,
    timings: { batchMaxRecords: 10 },
  })
  for (let n = 0; n < 300; n++)
    await Promise.all([device.publish('low', { n }), device.publish('high', { n })])
  device.uplink.setOnline(true)
  await device.drained()
  const records = await recordsOf(cloud)
  const at = (topic: string) => records.filter(record => record.subject === topic)
  t.same(
    at('high').map(record => record.data.n),
    range(0, 300),
  )
  t.same(
    at('low').map(record => record.data.n),
    range(0, 300),
  )
  t.ok(at('high')[299].index < at('low')[20].index, 'high is through while low has hardly begun')
  t.ok(at('low')[0].index < at('high')[299].index, 'and low is not starved')
})

t.test('a route that is gone drains to its uplink, and its log is removed', async t => {
  await using dir = await temporary()
  await using cloud = await cloudAt(`${dir.path}/cloud`)
  const folder = `${dir.path}/device`
  {
    await using device = await startDevice({ folder, url: cloud.url, online: false })
    await device.count(0, 5)
  }
  const routes = [routeAll({ name: 'other', filter: 'other' })]
  {
    const uplinks = [{ name: 'new', connector: 'http' as const, url: cloud.url, token: undefined, tls: {} }]
    const moved = [routeAll({ name: 'other', filter: 'other', to: 'new' })]
    await using device = await startDevice({ folder, url: cloud.url, routes: moved, uplinks })
    t.match(device.uplink.status().detached, [{ log: /^outbox\.all\.5\.\d+$/, to: 'cloud', records: 5 }])
  }
  {
    await using device = await startDevice({ folder, url: cloud.url, routes })
    await device.drained()
    t.same(await numbersAt(cloud), range(0, 5))
  }
  await using device = await startDevice({ folder, url: cloud.url, routes })
  t.equal(device.store.findLog('outbox.all.5'), undefined)
})

t.test('drain lets the batch in flight end and stops; disposing again does nothing', async t => {
  await using dir = await temporary()
  await using cloud = await cloudAt(`${dir.path}/cloud`)
  const device = await startDevice({ folder: `${dir.path}/device`, url: cloud.url })
  await device.count(0, 2_000)
  await device.uplink.drain(1_000)
  t.match(device.uplink.status().links, [{ link: { state: 'stopped' } }])
  const { queuedRecords } = device.uplink.status().links[0] ?? {}
  t.equal(
    (await numbersAt(cloud)).length + Number(queuedRecords),
    2_000,
    'acknowledged is what the endpoint has',
  )
  await device[Symbol.asyncDispose]()
  await device.uplink[Symbol.asyncDispose]()
})

t.test('a route to an uplink that is not there is refused', async t => {
  await t.rejects(startDevice({ folder: undefined, url: 'http://127.0.0.1:1/v1/events', uplinks: [] }), {
    code: 'FESCUE_NOT_FOUND',
  })
  await t.rejects(startDevice({ folder: undefined, url: 'ftp://127.0.0.1/' }), {
    code: 'FESCUE_CONFIG_INVALID',
  })
})

t.test('with nobody there the link is offline and says why', async t => {
  await using device = await startDevice({ folder: undefined, url: 'http://127.0.0.1:1/v1/events' })
  await device.count(0, 1)
  await until(() => device.uplink.status().links[0]?.link.state === 'offline')
  t.match(device.uplink.status().links, [
    { link: { reason: /ECONNREFUSED/, retryAt: Number }, queuedRecords: 1 },
  ])
})

t.test(
  'update: routes come and go, and to another receiver, while messages flow; each log stays whole',
  async t => {
    await using dir = await temporary()
    await using cloud = await cloudAt(`${dir.path}/cloud`)
    await using second = await cloudAt(`${dir.path}/second`)
    await using device = await startDevice({ folder: `${dir.path}/device`, url: cloud.url })
    const at = (url: string, name = 'cloud') => ({
      name,
      connector: 'http' as const,
      url: String(url),
      token: undefined,
      tls: {},
    })
    await device.count(0, 500)
    const linkBefore = device.uplink.status().links[0]
    await device.uplink.update({ uplinks: [at(cloud.url)], routes: [routeAll({ ttlMs: 1_000_000 })] })
    await device.count(500, 600)
    await device.drained()
    const [link] = device.uplink.status().links
    t.equal(link?.sentRecords, 600, 'a link with the same receiver and logs goes on')
    t.equal(linkBefore?.logs[0]?.log, link?.logs[0]?.log)

    await device.uplink.update({
      uplinks: [at(cloud.url), at(second.url, 'second')],
      routes: [routeAll({ name: 'other', to: 'second' })],
    })
    await device.count(600, 700)
    await device.drained()
    t.same(await numbersAt(cloud), range(0, 600), 'the old route takes nothing more')
    t.same(await numbersAt(second), range(600, 700))

    await device.uplink.update({ uplinks: [at(cloud.url)], routes: [routeAll()] })
    await device.count(700, 800)
    await device.drained()
    t.same(
      await numbersAt(cloud),
      [...range(0, 600), ...range(700, 800)],
      'the same log again, no number twice',
    )
    t.match(device.uplink.status().detached, [{ log: /^outbox\.other\.5/, to: 'second', records: 0 }])
  },
)

t.test('update: one that cannot be is refused, and what was goes on', async t => {
  await using dir = await temporary()
  await using cloud = await cloudAt(`${dir.path}/cloud`)
  await using device = await startDevice({ folder: `${dir.path}/device`, url: cloud.url })
  await t.rejects(device.uplink.update({ uplinks: [], routes: [routeAll()] }), { code: 'FESCUE_NOT_FOUND' })
  await device.count(0, 10)
  await device.drained()
  t.same(await numbersAt(cloud), range(0, 10))
})

t.test('update: a link that is cut stays cut, and one that is replaced too', async t => {
  await using dir = await temporary()
  await using cloud = await cloudAt(`${dir.path}/cloud`)
  await using device = await startDevice({ folder: `${dir.path}/device`, url: cloud.url, online: false })
  const uplinks = [{ name: 'cloud', connector: 'http' as const, url: cloud.url, token: 'new', tls: {} }]
  await device.uplink.update({ uplinks, routes: [routeAll()] })
  await device.count(0, 5)
  t.match(device.uplink.status().links, [{ link: { state: 'cut' }, queuedRecords: 5 }])
  device.uplink.setOnline(true)
  await device.drained()
  t.same(await numbersAt(cloud), range(0, 5))
})
