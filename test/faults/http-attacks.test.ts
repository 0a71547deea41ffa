/**
 * Requests that no client sends, against the API and the cloud endpoint: each is answered with what is wrong with it or
 * cut, none finds a defect (a 500), and a request after it is served.
 */
import { once } from 'node:events'
import { mkdtempDisposable } from 'node:fs/promises'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import { startCloud } from '#cloud/cloud.ts'
import { startRig, token } from '../api/api-rig.ts'
import { type Random, seededRandom } from '../harness/random.ts'

interface Target {
  readonly port: number
  /** Headers of a request that may do everything. */
  readonly headers: string
  /** A request that is served. */
  readonly well: string
  readonly posts: string
  readonly named: (name: string) => string
}

type Bytes = string | Buffer

const requestOf = (line: string, headers: string, body: Bytes = '') =>
  Buffer.concat([Buffer.from(`${line}\r\n${headers}\r\n`), Buffer.from(body)])

/** Sends and half-closes; all that comes back until the close. */
async function exchange(port: number, bytes: Buffer): Promise<string> {
  const socket = net.connect({ host: '127.0.0.1', port })
  socket.on('error', () => {})
  const chunks: Buffer[] = []
  socket.on('data', chunk => chunks.push(chunk))
  // A server that refuses early may close before all was sent.
  socket.end(bytes)
  if (!socket.closed) await new Promise<void>(resolve => socket.once('close', () => resolve()))
  return Buffer.concat(chunks).toString('latin1')
}

const statusesOf = (answer: string) =>
  [...answer.matchAll(/^HTTP\/1\.1 (\d{3})/gm)].map(match => Number(match[1]))

function attacksOn(target: Target): [name: string, bytes: Buffer, statuses: readonly number[]][] {
  const { headers, posts, named } = target
  const json = `${headers}Content-Type: application/json\r\n`
  const post = (body: Bytes, more = '') =>
    requestOf(`POST ${posts} HTTP/1.1`, `${json}Content-Length: ${Buffer.byteLength(body)}\r\n${more}`, body)
  const get = (path: string) => requestOf(`GET ${path} HTTP/1.1`, headers)
  const names = [
    '..%2f..%2fetc%2fpasswd',
    '%2e%2e',
    '__proto__',
    'constructor',
    '%00',
    'a%0d%0aSet-Cookie:x',
    'x'.repeat(200),
    '%f0%9f%92%a9',
  ]
  return [
    ...names.map((name): [string, Buffer, number[]] => [
      `the name ${name.slice(0, 20)}`,
      get(named(name)),
      [400, 404],
    ]),
    ['a broken escape', get(named('%zz')), [400]],
    ['a target that is no path', get('//'), [400, 404]],
    ['a target with a host', get('http://evil.example//x'), [400, 403, 404]],
    ['a path out of the root', get('/../../../../etc/passwd'), [404]],
    ['no HTTP', Buffer.from('\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'), [400]],
    ['an MQTT CONNECT', Buffer.from('101000044d5154540402003c000461626364', 'hex'), [400]],
    ['a method that is none', requestOf(`BREW ${posts} HTTP/1.1`, headers), [400, 404, 405]],
    ['a header without a colon', requestOf('GET / HTTP/1.1', `${headers}nonsense\r\n`), [400]],
    [
      'headers beyond their bound',
      requestOf('GET / HTTP/1.1', `${headers}X: ${'x'.repeat(20_000)}\r\n`),
      [431],
    ],
    [
      'two lengths',
      requestOf(`POST ${posts} HTTP/1.1`, `${json}Content-Length: 2\r\nContent-Length: 3\r\n`, '{}x'),
      [400],
    ],
    [
      'a length and chunks',
      requestOf(
        `POST ${posts} HTTP/1.1`,
        `${json}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n`,
        '2\r\n{}\r\n0\r\n\r\n',
      ),
      [400],
    ],
    [
      'a chunk that lies',
      requestOf(`POST ${posts} HTTP/1.1`, `${json}Transfer-Encoding: chunked\r\n`, 'zz\r\n{}\r\n'),
      [400],
    ],
    [
      'a length that is negative',
      requestOf(`POST ${posts} HTTP/1.1`, `${json}Content-Length: -5\r\n`, '{}'),
      [400],
    ],
    [
      'a body announced beyond its bound',
      requestOf(`POST ${posts} HTTP/1.1`, `${json}Content-Length: 99999999999\r\n`, '{}'),
      [413],
    ],
    [
      'a body that ends early',
      requestOf(`POST ${posts} HTTP/1.1`, `${json}Content-Length: 50\r\n`, '{"a":'),
      [],
    ],
    ['no JSON', post('{"a":'), [400, 415]],
    ['JSON that is no object', post('[1,2'), [400, 415]],
    ['JSON that is deep', post(`${'['.repeat(200_000)}`), [400, 415]],
    ['JSON with a prototype', post('{"__proto__":{"x":1},"constructor":{"prototype":1}}'), [400, 415]],
    ['bytes that are no text', post(Buffer.from([0xff, 0xfe, 0x00, 0xc3, 0x28])), [400, 415]],
    ['numbers that are none', get(`${named('a')}/records?after=1e9&limit=NaN`), [400, 404]],
  ]
}

async function attack(t: Test, target: Target): Promise<void> {
  const well = requestOf(`GET ${target.well} HTTP/1.1`, `${target.headers}Connection: close\r\n`)
  for (const [name, bytes, statuses] of attacksOn(target)) {
    const got = statusesOf(await exchange(target.port, bytes))
    const known = got.length === 0 ? statuses.length === 0 : got.every(each => statuses.includes(each))
    t.ok(known || (statuses.length === 0 && got.every(each => each < 500)), `${name}: ${got} of ${statuses}`)
    t.same(statusesOf(await exchange(target.port, well)), [200], 'and the next request is served')
  }
  const random = seededRandom()
  t.comment(`SEED=${random.seed}`)
  const all = attacksOn(target).map(([, bytes]) => bytes)
  for (let i = 0; i < 300; i++) {
    const bytes = damaged(random, random.pick([...all, well]))
    const answer = await exchange(target.port, bytes)
    if (statusesOf(answer).some(status => status === 500))
      t.fail(`500: ${bytes.toString('hex').slice(0, 2_000)}`)
  }
  t.same(statusesOf(await exchange(target.port, well)), [200], '300 damaged requests later it serves')
}

function damaged(random: Random, bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes)
  for (let i = random.int(1, 6); i > 0; i--)
    copy[random.int(0, Math.min(copy.length, 400))] = random.pick([
      random.int(0, 256),
      0x0d,
      0x0a,
      0x20,
      0x25,
      0x2f,
    ])
  return random.next() < 0.2 ? copy.subarray(0, random.int(1, copy.length)) : copy
}

t.test('the API', async t => {
  await using rig = await startRig()
  const { port } = rig.api
  const host = `Host: 127.0.0.1:${port}\r\n`
  const headers = `${host}Authorization: Bearer ${token}\r\n`
  const paths = {
    well: '/api/v1/status',
    posts: '/api/v1/publish',
    named: (name: string) => `/api/v1/functions/${name}`,
  }
  await attack(t, { port, headers, ...paths })
  for (const [name, other, status] of [
    ['a name bound anew to this machine', `Host: evil.example\r\nAuthorization: Bearer ${token}\r\n`, 403],
    ['no Host', `Authorization: Bearer ${token}\r\n`, 400],
    ['two Hosts', `${host}Host: evil.example\r\nAuthorization: Bearer ${token}\r\n`, 400],
    ['no token', host, 401],
    ['a wrong token', `${host}Authorization: Bearer ${token}x\r\n`, 401],
    ['a token of another kind', `${host}Authorization: Basic ${token}\r\n`, 401],
    ['an endless token', `${host}Authorization: Bearer ${'t'.repeat(10_000)}\r\n`, 401],
  ] as const) {
    const answer = await exchange(
      port,
      requestOf('GET /api/v1/status HTTP/1.1', `${other}Connection: close\r\n`),
    )
    t.same(statusesOf(answer), [status], name)
    t.notMatch(answer, token, 'the answer does not tell the token')
  }
})

t.test(
  'D6: connections of the API beyond their number are dropped, and those that say nothing are cut',
  async t => {
    await using rig = await startRig()
    const { port } = rig.api
    const silent = Array.from({ length: 140 }, () => net.connect({ host: '127.0.0.1', port }))
    const closed = silent.map(socket => {
      socket.on('error', () => {})
      return once(socket.resume(), 'close')
    })
    await Promise.race(closed)
    t.equal(
      (await rig.askSocket('/healthz')).status,
      200,
      'the socket in the data folder has a number of its own',
    )
    await Promise.all(closed)
    t.equal((await rig.ask('/api/v1/status')).status, 200)
  },
)

t.test('the cloud endpoint', async t => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'fescue-cloud-attack-'))
  const parts = { clock: systemClock, logger: silentLogger, host: '127.0.0.1', port: 0 }
  await using endpoint = await startCloud({ ...parts, folder: folder.path, tokens: { pi: 'p', '*': 'all' } })
  const { port } = endpoint
  const headers = `Host: 127.0.0.1:${port}\r\nAuthorization: Bearer all\r\n`
  const paths = { well: '/v1/devices', posts: '/v1/events', named: (name: string) => `/v1/devices/${name}` }
  await attack(t, { port, headers, ...paths })
  const answer = await exchange(
    port,
    requestOf('GET /v1/devices HTTP/1.1', `Host: a\r\nAuthorization: Bearer x\r\nConnection: close\r\n`),
  )
  t.same(statusesOf(answer), [401])
})
