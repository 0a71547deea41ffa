/** The endpoint over real HTTP: what it keeps, counts and refuses. */
import { once } from 'node:events'
import { mkdtempDisposable } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import { type CloudEndpoint, type CloudOptions, startCloud } from '#cloud/cloud.ts'

const batchType = 'application/cloudevents-batch+json'

function start(folder: string, options: Partial<CloudOptions> = {}): Promise<CloudEndpoint> {
  return startCloud({
    folder,
    host: '127.0.0.1',
    port: 0,
    logger: silentLogger,
    clock: systemClock,
    ...options,
  })
}

function event(offset: number, more: object = {}, log = 'outbox.a.5.1', epoch = 'e1', device = 'pi') {
  return {
    specversion: '1.0',
    id: `${device}/${epoch}/${log}/${offset}`,
    source: `//fescue/${device}`,
    type: 'fescue.message.v1',
    subject: 'a/b',
    data: offset,
    ...more,
  }
}

function loss(offset: number, from: number, to: number, reason = 'overflow', epoch = 'e1') {
  const data = { log: 'outbox.a.5', incarnation: 1, epoch, from, to, records: to - from, reason, time: 1 }
  return event(offset, { type: 'fescue.loss.v1', data }, 'ledger.0', epoch)
}

async function post(endpoint: CloudEndpoint, body: unknown, headers: Record<string, string> = {}) {
  return fetch(endpoint.url, {
    method: 'POST',
    headers: { 'content-type': batchType, ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
}

/** An answer, looked at loosely. */
type Loose = ReturnType<typeof JSON.parse>

async function get(
  endpoint: CloudEndpoint,
  path: string,
  headers: Record<string, string> = {},
): Promise<Loose> {
  const response = await fetch(new URL(path, endpoint.url), { headers })
  return response.json()
}

async function counts(endpoint: CloudEndpoint) {
  const { records, duplicates, gaps, lost } = await get(endpoint, '/v1/devices/pi')
  return { records, duplicates, gaps, lost }
}

t.test('records are kept once, in order of arrival, and survive a restart', async t => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-cloud-'))
  {
    await using endpoint = await start(dir.path)
    t.same(await (await post(endpoint, [event(0), event(1)])).json(), { stored: 2, duplicates: 0 })
    t.same(await (await post(endpoint, [event(0), event(1), event(2)])).json(), { stored: 1, duplicates: 2 })
  }
  await using endpoint = await start(dir.path)
  t.same(await (await post(endpoint, [event(2), event(3)])).json(), { stored: 1, duplicates: 1 })
  const records = await get(endpoint, '/v1/devices/pi/records?after=-1&limit=100')
  t.same(
    records.map((record: { index: number; data: number }) => [record.index, record.data]),
    [
      [0, 0],
      [1, 1],
      [2, 2],
      [3, 3],
    ],
  )
  t.same(await get(endpoint, '/v1/devices/pi/records?after=1&limit=1'), [records[2]])
  t.same(await get(endpoint, '/v1/devices/pi/records?after=3'), [])
  t.same(await counts(endpoint), { records: 4, duplicates: 3, gaps: 0, lost: 0 })
  t.match(await get(endpoint, '/v1/devices'), [
    { device: 'pi', logs: [{ log: 'outbox.a.5.1', epoch: 'e1', next: 4 }] },
  ])
})

t.test('a gap is counted unless a ledger entry explains it, before or after it', async t => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-cloud-'))
  await using endpoint = await start(dir.path)
  await post(endpoint, [event(0), event(5)])
  t.equal((await counts(endpoint)).gaps, 4)
  await post(endpoint, [loss(0, 1, 3)])
  t.match(await counts(endpoint), { gaps: 2, lost: 2 })
  await post(endpoint, [loss(1, 6, 10), event(10)])
  t.match(await counts(endpoint), { gaps: 2, lost: 6 })
  await post(endpoint, [loss(2, 11, 20, 'rollback'), event(12)])
  t.match(await counts(endpoint), { gaps: 3, lost: 6 }, 'an entry about a rollback explains nothing')
})

t.test('an epoch begins where its first record says, and gives the one before it an end', async t => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-cloud-'))
  await using endpoint = await start(dir.path)
  const log = 'outbox.a.5.1'
  await post(endpoint, [event(0), event(1), event(2, { fescuebase: '2', fescueafter: 'e1' }, log, 'e2')])
  t.match(await counts(endpoint), { records: 3, gaps: 0 })
  await post(endpoint, [event(5, { fescuebase: '5', fescueafter: 'e2' }, log, 'e3')])
  t.match(await counts(endpoint), { records: 4, gaps: 2 }, 'offsets 3 and 4 of e2 are missing')
  await post(endpoint, [event(3, {}, log, 'e2'), event(4, {}, log, 'e2')])
  t.match(await counts(endpoint), { records: 6, gaps: 0 }, 'a copy of the device brought them')
  await post(endpoint, [event(2), event(3)])
  t.match(
    await counts(endpoint),
    { records: 8, duplicates: 0 },
    'the same offsets in another epoch are other records',
  )
})

t.test('an event is kept as it came, to the digit', async t => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-cloud-'))
  await using endpoint = await start(dir.path)
  const texts = [
    JSON.stringify(event(0)).replace(
      '"data":0',
      '"data":{"n":12345678901234567890,"f":1.50,"s":"a\\\\\\"],[{"}',
    ),
    JSON.stringify(event(1, { data_base64: '/w==' }), null, 2),
  ]
  t.equal((await post(endpoint, `[ ${texts.join(' ,\n ')} ]`)).status, 200)
  const response = await fetch(new URL('/v1/devices/pi/records', endpoint.url))
  const text = await response.text()
  t.match(text, '{"n":12345678901234567890,"f":1.50,"s":"a\\\\\\"],[{"}')
  t.match(JSON.parse(text), [{ index: 0 }, { index: 1, data_base64: '/w==' }])
})

t.test('single and binary mode', async t => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-cloud-'))
  await using endpoint = await start(dir.path)
  const single = await post(endpoint, event(0), { 'content-type': 'application/cloudevents+json' })
  t.equal(single.status, 200)
  const headers = (offset: number, type: string) => ({
    'content-type': type,
    'ce-specversion': '1.0',
    'ce-id': `pi/e1/outbox.a.5.1/${offset}`,
    'ce-source': '//fescue/pi',
    'ce-type': 'fescue.message.v1',
    'ce-subject': 'caf%C3%A9',
  })
  t.equal((await post(endpoint, '{"x":1.0}', headers(1, 'application/json'))).status, 200)
  t.equal((await post(endpoint, 'on', headers(2, 'text/plain'))).status, 200)
  t.match(await get(endpoint, '/v1/devices/pi/records'), [
    { data: 0 },
    { data: { x: 1 }, subject: 'café' },
    { data_base64: 'b24=', datacontenttype: 'text/plain' },
  ])
})

t.test('what cannot be understood is refused as a whole, with a problem document', async t => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-cloud-'))
  await using endpoint = await start(dir.path, { bodyMaxBytes: 10_000 })
  const bad: [unknown, RegExp][] = [
    ['[', /not JSON/],
    [{}, /array/],
    [[event(0), 7], /event\[1\] is not an object/],
    [[event(0, { specversion: '0.3' })], /specversion/],
    [[event(0, { id: 'x' })], /device\/epoch/],
    [[event(0, { source: '//fescue/other' })], /source/],
    [[event(0, { id: 'pi/e1/outbox.a.5.1/-1' })], /offset/],
    [[event(0, { type: 'fescue.loss.v1', data: { log: 1 } })], /ledger entry/],
  ]
  for (const [body, detail] of bad) {
    const response = await post(endpoint, body)
    t.equal(response.status, 400)
    t.equal(response.headers.get('content-type'), 'application/problem+json')
    t.match(await response.json(), { status: 400, detail })
  }
  t.equal((await post(endpoint, [event(0)], { 'content-type': 'text/plain' })).status, 400)
  t.equal((await post(endpoint, [event(0, { data: 'x'.repeat(10_000) })])).status, 413)
  t.equal((await fetch(new URL('/nothing', endpoint.url))).status, 404)
  t.equal((await fetch(new URL('/v1/devices/pi', endpoint.url))).status, 404)
  t.same(await get(endpoint, '/v1/devices'), [], 'nothing of it was kept')
})

t.test('a token writes and reads its own device, that of * reads all', async t => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-cloud-'))
  await using endpoint = await start(dir.path, { tokens: { pi: 'one', other: 'two', '*': 'all' } })
  const as = (token: string) => ({ authorization: `Bearer ${token}` })
  t.equal((await post(endpoint, [event(0)])).status, 401)
  t.equal((await post(endpoint, [event(0)], as('wrong'))).status, 401)
  t.equal((await post(endpoint, [event(0)], as('two'))).status, 403)
  t.equal((await post(endpoint, [event(0)], as('all'))).status, 403)
  t.equal((await post(endpoint, [event(0)], as('one'))).status, 200)
  t.match(await get(endpoint, '/v1/devices', as('all')), [{ device: 'pi' }])
  t.match(await get(endpoint, '/v1/devices', as('two')), [])
  t.match(await get(endpoint, '/v1/devices/pi', as('two')), { status: 403 })
  t.match(await get(endpoint, '/v1/devices/pi/records', as('one')), [{ index: 0 }])
  t.equal((await fetch(new URL('/healthz', endpoint.url))).status, 200)
})

t.test('without tokens it listens on loopback only, and a taken port is named', async t => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-cloud-'))
  await using other = await mkdtempDisposable(join(tmpdir(), 'fescue-cloud-'))
  await t.rejects(start(dir.path, { host: '0.0.0.0' }), { code: 'FESCUE_LISTEN_NO_USERS' })
  await using endpoint = await start(dir.path)
  await t.rejects(start(dir.path), { code: 'FESCUE_STORE_LOCKED' })
  await t.rejects(start(other.path, { port: endpoint.port }), { code: 'FESCUE_PORT_TAKEN' })
})

t.test('above the bytes under way it answers 503 with Retry-After', async t => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-cloud-'))
  await using endpoint = await start(dir.path, { underWayMaxBytes: 1_000 })
  const big = [event(0, { data: 'x'.repeat(900) })]
  const answers = await Promise.all(Array.from({ length: 20 }, () => post(endpoint, big)))
  const busy = answers.filter(answer => answer.status === 503)
  t.ok(busy.length > 0 && busy.length < 20, `${busy.length} of 20`)
  t.equal(busy[0]?.headers.get('retry-after'), '1')
  t.match(await counts(endpoint), { records: 1, gaps: 0 })
})

t.test('a body in chunks counts as the largest', async t => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-cloud-'))
  await using endpoint = await start(dir.path, { bodyMaxBytes: 2_000, underWayMaxBytes: 2_500 })
  const slow = request(endpoint.url, { method: 'POST', headers: { 'content-type': batchType } })
  slow.flushHeaders()
  const big = [event(1, { data: 'x'.repeat(900) })]
  let busy = await post(endpoint, big)
  while (busy.status === 200) busy = await post(endpoint, big)
  t.equal(busy.status, 503)
  slow.end(JSON.stringify([event(0)]))
  const [answer] = await once(slow, 'response')
  t.equal(answer.statusCode, 200)
  answer.resume()
})

t.test('requests at the same time share a commit and keep every record', async t => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-cloud-'))
  await using endpoint = await start(dir.path)
  const devices = Array.from({ length: 20 }, (_, i) => `pi${i}`)
  for (let offset = 0; offset < 30; offset += 10) {
    await Promise.all(
      devices.map(device =>
        post(
          endpoint,
          Array.from({ length: 10 }, (_, i) => event(offset + i, {}, 'outbox.a.5.1', 'e1', device)),
        ),
      ),
    )
  }
  for (const device of devices) {
    const records = await get(endpoint, `/v1/devices/${device}/records?limit=17&after=9`)
    t.same(
      records.map((record: { data: number }) => record.data),
      Array.from({ length: 17 }, (_, i) => 10 + i),
    )
  }
})
