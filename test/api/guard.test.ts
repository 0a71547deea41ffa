/** Who gets in: token, socket, Host, Origin; and what a browser is told. */
import { mkdir, mkdtempDisposable, stat, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { startRig, token } from './api-rig.ts'

t.test('over TCP everything but probes and explanations needs the token', async t => {
  await using rig = await startRig()
  const routes: [string, string][] = [
    ['GET', '/api/v1/status'],
    ['GET', '/api/v1/functions'],
    ['GET', '/api/v1/functions/f'],
    ['DELETE', '/api/v1/functions/f'],
    ['POST', '/api/v1/functions/f/invoke'],
    ['GET', '/api/v1/dead-letters'],
    ['POST', '/api/v1/dead-letters/retry'],
    ['POST', '/api/v1/dead-letters/drop'],
    ['GET', '/api/v1/buffer'],
    ['GET', '/api/v1/devices'],
    ['POST', '/api/v1/devices'],
    ['DELETE', '/api/v1/devices/d'],
    ['POST', '/api/v1/publish'],
    ['GET', '/api/v1/messages'],
    ['GET', '/api/v1/events'],
    ['POST', '/api/v1/link'],
  ]
  const wrong: Record<string, string>[] = [
    {},
    { authorization: `Bearer ${token}x` },
    { authorization: `Basic ${token}` },
    { authorization: 'Bearer ' },
    { authorization: `Bearer ${token.slice(1)}` },
  ]
  for (const [method, path] of routes)
    for (const headers of wrong) {
      const answer = await rig.askBare(path, { method, headers })
      t.match(
        answer,
        { status: 401, headers: { 'www-authenticate': /^Bearer/ }, body: { code: 'FESCUE_NOT_AUTHORIZED' } },
        `${method} ${path}`,
      )
    }
  t.same(rig.backend.calls, [])
  t.notMatch((await rig.askBare('/api/v1/status')).text, token)
})

t.test('the socket in the data folder needs no token, and is its owner’s alone', async t => {
  const umask = process.umask(0)
  t.teardown(() => process.umask(umask))
  await using rig = await startRig()
  t.equal(process.umask(), 0, 'the umask is given back')
  t.match(await rig.askSocket('/api/v1/status'), { status: 200 })
  t.equal((await rig.askSocket('/api/v1/publish', { method: 'POST', body: { topic: 'a' } })).status, 204)
  t.equal(((await stat(join(rig.folder, 'api.sock'))).mode & 0o777).toString(8), '600')
})

t.test('a name that was re-bound to this machine is refused, with or without the token', async t => {
  await using rig = await startRig()
  const { port } = rig.api
  for (const host of [
    'evil.example',
    `evil.example:${port}`,
    '127.0.0.1.evil.example',
    'localhost.evil.example',
    '192.168.1.5',
    'a@127.0.0.1',
  ])
    for (const path of ['/api/v1/status', '/healthz', '/metrics'])
      t.match(
        await rig.ask(path, { headers: { host } }),
        { status: 403, body: { code: 'FESCUE_FORBIDDEN' } },
        `${host}${path}`,
      )
  for (const host of ['localhost', `LOCALHOST:${port}`, `127.0.0.1:${port}`, `[::1]:${port}`])
    t.equal((await rig.ask('/api/v1/status', { headers: { host } })).status, 200, host)
})

t.test('a name that the config allows is taken', async t => {
  await using rig = await startRig({ http: { host: '127.0.0.1', port: 0, hosts: ['Greenhouse.local'] } })
  t.equal((await rig.ask('/api/v1/status', { headers: { host: 'greenhouse.local:8484' } })).status, 200)
})

t.test('another site may not change anything, even with the token', async t => {
  await using rig = await startRig()
  const own = `127.0.0.1:${rig.api.port}`
  const publish = (headers: Record<string, string>) =>
    rig.ask('/api/v1/publish', { method: 'POST', body: { topic: 'a' }, headers })
  for (const headers of [
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { origin: 'http://127.0.0.1:1' },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
  ] as Record<string, string>[])
    t.match(
      await publish(headers),
      { status: 403, body: { code: 'FESCUE_FORBIDDEN' } },
      JSON.stringify(headers),
    )
  t.same(rig.backend.calls, [])
  t.equal((await publish({ origin: `http://${own}`, 'sec-fetch-site': 'same-origin' })).status, 204)
  const preflight = await rig.askBare('/api/v1/publish', {
    method: 'OPTIONS',
    headers: { origin: 'https://evil.example' },
  })
  t.equal(preflight.status, 405)
  t.notOk(
    Object.keys(preflight.headers).some(name => name.startsWith('access-control')),
    'no CORS',
  )
})

t.test('the page is served by a fixed list, with a policy and without a token', async t => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'fescue-page-'))
  await writeFile(join(folder.path, 'index.html'), '<!doctype html>')
  await writeFile(join(folder.path, 'page.js'), 'export {}')
  await writeFile(join(folder.path, 'notes.txt'), 'not served')
  await mkdir(join(folder.path, 'sub'))
  await writeFile(join(folder.path, 'sub', 'page.css'), 'not served')
  await using rig = await startRig({ pages: folder.path })
  t.match(await rig.askBare('/'), {
    status: 200,
    text: '<!doctype html>',
    headers: {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': /default-src 'none'.*script-src 'self'.*frame-ancestors 'none'/,
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
    },
  })
  t.match(await rig.askBare('/page.js'), {
    status: 200,
    headers: { 'content-type': 'text/javascript; charset=utf-8' },
  })
  for (const path of [
    '/index.html',
    '/notes.txt',
    '/sub/page.css',
    '/..%2ftoken',
    '/%2e%2e/token',
    '/token',
    '/../../etc/passwd',
  ])
    t.equal((await rig.askBare(path)).status, 404, path)
})

t.test('a caller from the network needs the token for the probes too', async t => {
  const address = Object.values(networkInterfaces())
    .flat()
    .find(each => each?.family === 'IPv4' && !each.internal)?.address
  if (address === undefined) return t.pass('this machine has no address but the loopback')
  await using rig = await startRig({ http: { host: '0.0.0.0', port: 0, hosts: [] } })
  const ask = async (headers: string) => {
    const socket = connect(rig.api.port, address)
    socket.end(
      `GET /metrics HTTP/1.1\r\nHost: ${address}:${rig.api.port}\r\n${headers}Connection: close\r\n\r\n`,
    )
    return Buffer.concat(await Array.fromAsync(socket))
      .toString()
      .split('\r\n')[0]
  }
  t.equal(await ask(''), 'HTTP/1.1 401 Unauthorized')
  t.equal(await ask(`Authorization: Bearer ${token}\r\n`), 'HTTP/1.1 200 OK')
})
