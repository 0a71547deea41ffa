/** Receivers that refuse, are busy, answer nonsense or choke on one record. */
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import t from 'tap'
import type { LinkState } from '#uplink/status.ts'
import { type Reply, type Request, startReceiver } from '../fakes/receiver.ts'
import {
  cloudAt,
  type Device,
  get,
  type Loose,
  numbersAt,
  range,
  recordsOf,
  startDevice,
  temporary,
  until,
} from '../fakes/uplink-rig.ts'

const stateOf = (device: Device): LinkState => device.uplink.status().links[0]!.link
const ns = (events: readonly Loose[]) =>
  events.filter(event => event.type === 'fescue.message.v1').map(event => event.data.n)

/** Gives the replies one after another to batches, then 204. */
function script(replies: readonly Reply[]): (request: Request) => Reply {
  let index = 0
  return () => (index < replies.length ? replies[index++] : 204)
}

t.test('errors of a server that keeps no numbers: everything arrives at least once, in order', async t => {
  const seen = script([500, 503, { status: 429, headers: { 'retry-after': '0' } }, 502, 408, 425])
  await using receiver = await startReceiver(seen)
  await using device = await startDevice({ folder: undefined, url: `http://127.0.0.1:${receiver.port}/hook` })
  await device.count(0, 50)
  await device.drained()
  t.same(ns(receiver.taken), range(0, 50))
  t.ok(
    receiver.requests.every(request => request.method === 'POST'),
    'it is not asked for numbers',
  )
  t.equal(receiver.requests[0]?.headers['content-type'], 'application/cloudevents-batch+json')
})

t.test('Retry-After is honoured', async t => {
  await using receiver = await startReceiver(script([{ status: 429, headers: { 'retry-after': '1' } }]))
  await using device = await startDevice({ folder: undefined, url: `http://127.0.0.1:${receiver.port}/hook` })
  const started = performance.now()
  await device.count(0, 1)
  await until(() => stateOf(device).state === 'offline')
  t.match(stateOf(device), { reason: 'HTTP 429' })
  await device.drained()
  t.ok(performance.now() - started >= 1_000)
})

t.test('refused credentials are a state of their own, and no storm', async t => {
  let isRight = false
  await using receiver = await startReceiver(() =>
    isRight ? 204 : { status: 401, body: '{"detail":"who are you?"}' },
  )
  const url = `http://127.0.0.1:${receiver.port}/hook`
  const timings = { refusedInitialMs: 100, refusedMaxMs: 100 }
  const uplinks = [{ name: 'cloud', connector: 'http' as const, url, token: 'secret', tls: {} }]
  await using device = await startDevice({ folder: undefined, url, uplinks, timings })
  await device.count(0, 3)
  await until(() => receiver.requests.length >= 3 && stateOf(device).state === 'refused')
  t.match(stateOf(device), { state: 'refused', reason: 'HTTP 401: who are you?' })
  const attempts = receiver.requests.length
  await new Promise(resolve => setTimeout(resolve, 100))
  t.ok(receiver.requests.length - attempts <= 2, 'tries are slow')
  t.equal(receiver.requests[0]?.headers.authorization, 'Bearer secret')
  isRight = true
  await device.drained()
  t.same(ns(receiver.taken), [0, 1, 2])
})

t.test('a wrong address is refused too, and no record pays for it', async t => {
  for (const status of [301, 404, 405, 415]) {
    await using receiver = await startReceiver(() => status)
    await using device = await startDevice({
      folder: undefined,
      url: `http://127.0.0.1:${receiver.port}/hook`,
    })
    await device.count(0, 3)
    await until(() => stateOf(device).state === 'refused')
    t.match(device.uplink.status().links, [{ queuedRecords: 3, rejectedRecords: 0 }], `${status}`)
  }
})

t.test('a page of a log-in portal is no acknowledgement', async t => {
  const portal = { status: 200, headers: { 'content-type': 'text/html; charset=utf-8' }, body: '<html>' }
  for (const path of ['/hook', '/v1/events']) {
    let isPortal = true
    await using receiver = await startReceiver(request =>
      isPortal ? portal : request.method === 'GET' ? 404 : 204,
    )
    await using device = await startDevice({
      folder: undefined,
      url: `http://127.0.0.1:${receiver.port}${path}`,
    })
    await device.count(0, 3)
    await until(() => stateOf(device).state === 'offline')
    t.match(device.uplink.status().links, [{ queuedRecords: 3 }])
    isPortal = false
    await device.drained()
    t.same(ns(receiver.taken.slice(-3)), [0, 1, 2])
  }
})

t.test('nonsense, silence and half answers are errors like others', async t => {
  const nonsense = [
    'HELLO\r\n\r\n',
    'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort',
    '',
    'HTTP/1.1 204 No Content\r\n\r\n',
  ]
  let index = 0
  const server = createServer(socket => {
    socket.on('error', () => {})
    socket.on('data', () => {
      const text = nonsense[Math.min(index++, nonsense.length - 1)] ?? ''
      if (text === '') return
      socket.end(text)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`
  await using device = await startDevice({ folder: undefined, url, timings: { requestTimeoutMs: 100 } })
  await device.count(0, 3)
  await device.drained()
  t.ok(index >= nonsense.length, `${index} requests`)
  server.close()
})

t.test('an answer without end is cut at its bound', async t => {
  await using receiver = await startReceiver((_request, response) => {
    const chunk = Buffer.alloc(1024 * 1024)
    const more = () => {
      while (!response.destroyed && response.write(chunk));
    }
    response.on('drain', more)
    more()
    return undefined
  })
  await using device = await startDevice({ folder: undefined, url: `http://127.0.0.1:${receiver.port}/hook` })
  await device.count(0, 1)
  await until(() => stateOf(device).state === 'offline')
  t.match(stateOf(device), { reason: /exceeds 4194304 bytes/ })
})

t.test(
  'one record that the receiver will not take goes to the dead letters and the ledger; the rest arrive',
  async t => {
    await using receiver = await startReceiver(request =>
      request.events.some(event => event.data?.n === 37) ? { status: 400, body: '{"detail":"no 37"}' } : 204,
    )
    await using device = await startDevice({
      folder: undefined,
      url: `http://127.0.0.1:${receiver.port}/hook`,
    })
    await device.count(0, 100)
    await device.drained()
    t.same(
      ns(receiver.taken),
      range(0, 100).filter(n => n !== 37),
    )
    const dead = device.store.findLog('refused.all.5')
    const { records = [] } = (await dead?.read(0, { maxRecords: 10, maxBytes: 1e6 })) ?? {}
    t.equal(records.length, 1)
    t.match(records[0], { topic: 'count' })
    t.match(JSON.parse(records[0]?.extra ?? ''), { error: { message: 'HTTP 400: no 37' }, offset: 37 })
    const losses = receiver.taken.filter(event => event.type === 'fescue.loss.v1')
    t.match(losses, [{ data: { from: 37, to: 38, records: 1, reason: 'rejected' } }])
    t.ok(receiver.taken.indexOf(losses[0]) < receiver.taken.findIndex(event => event.data.n === 38))
    t.match(device.uplink.status().links, [{ link: { state: 'connected' }, rejectedRecords: 1 }])
  },
)

t.test('a receiver that rejects everything does not empty the outbox into the dead letters', async t => {
  let rejects = true
  await using receiver = await startReceiver(() => (rejects ? 422 : 204))
  await using device = await startDevice({ folder: undefined, url: `http://127.0.0.1:${receiver.port}/hook` })
  await device.count(0, 100)
  await until(() => stateOf(device).state === 'refused')
  const buried = device.store.findLog('refused.all.5')?.records ?? 0
  t.ok(buried > 0 && buried <= 3, `${buried} buried`)
  t.match(device.uplink.status().links, [{ queuedRecords: 100 - buried }])
  rejects = false
  await device.drained()
  t.same(ns(receiver.taken), range(buried, 100))
})

t.test('a batch too large for the endpoint is halved, a record too large is buried', async t => {
  await using dir = await temporary()
  await using cloud = await cloudAt(`${dir.path}/cloud`, { bodyMaxBytes: 5_000 })
  await using device = await startDevice({ folder: `${dir.path}/device`, url: cloud.url, online: false })
  await device.count(0, 100)
  await device.publish('big', 'x'.repeat(6_000))
  await device.count(100, 200)
  device.uplink.setOnline(true)
  await device.drained()
  t.same(await numbersAt(cloud), range(0, 200))
  t.notOk((await recordsOf(cloud)).some(record => record.subject === 'big'))
  t.match(await get(cloud, '/v1/devices/pi'), { gaps: 0, lost: 1 })
})

t.test('the endpoint is restarted, and replaced by an empty one: no gap is made up', async t => {
  await using dir = await temporary()
  let cloud = await cloudAt(`${dir.path}/cloud`)
  const { port } = cloud
  await using device = await startDevice({ folder: `${dir.path}/device`, url: cloud.url })
  await device.count(0, 50)
  await device.drained()
  await cloud[Symbol.asyncDispose]()
  await device.count(50, 100)
  await until(() => stateOf(device).state === 'offline')
  cloud = await cloudAt(`${dir.path}/cloud`, { port })
  await device.drained()
  t.same(await numbersAt(cloud), range(0, 100))
  await cloud[Symbol.asyncDispose]()
  await until(() => stateOf(device).state === 'offline')
  cloud = await cloudAt(`${dir.path}/empty`, { port })
  await until(() => stateOf(device).state === 'connected')
  await device.count(100, 150)
  await device.drained()
  t.same(await numbersAt(cloud), range(100, 150))
  t.match(await get(cloud, '/v1/devices/pi'), { gaps: 0 })
  await cloud[Symbol.asyncDispose]()
})
