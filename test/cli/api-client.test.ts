import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { ApiClient } from '#cli/api-client.ts'
import { FakeApi, json, lines, problem } from '../fakes/api-server.ts'

t.test('calls over the Unix socket of a data folder', async t => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'fescue-cli-'))
  await using api = await FakeApi.start({ 'POST /api/v1/publish': json({ ok: 1 }) }, folder.path)
  const client = new ApiClient({ socketPath: join(folder.path, 'api.sock'), name: 'here' })
  t.same(await client.call('/api/v1/publish', { method: 'POST', body: { topic: 'ä' } }), { ok: 1 })
  t.match(api.requests, [{ method: 'POST', body: { topic: 'ä' }, authorization: undefined }])
})

t.test('calls over HTTP with the token, below the path of the address', async t => {
  await using api = await FakeApi.start({ 'GET /base/api/v1/status': json({ ok: 2 }) })
  const client = new ApiClient({ url: new URL(`${api.url}/base/`), token: 'secret', name: 'there' })
  t.same(await client.call('/api/v1/status'), { ok: 2 })
  t.equal(api.requests[0]?.authorization, 'Bearer secret')
})

t.test('a problem document becomes the error of its code', async t => {
  await using api = await FakeApi.start({
    'GET /known': (_request, response) => problem(response, 504, 'FESCUE_FUNCTION_TIMEOUT', 'too slow'),
    'GET /plain': (_request, response) => response.writeHead(401).end('no'),
    'GET /broken': (_request, response) => response.writeHead(200).end('<html>'),
  })
  const client = new ApiClient({ url: new URL(api.url), name: 'there' })
  await t.rejects(client.call('/known'), { code: 'FESCUE_FUNCTION_TIMEOUT', message: 'too slow' })
  await t.rejects(client.call('/plain'), { code: 'FESCUE_NOT_AUTHORIZED' })
  await t.rejects(client.call('/broken'), { code: 'FESCUE_INTERNAL' })
  await t.rejects(client.call('/other'), { code: 'FESCUE_NOT_FOUND' })
})

t.test('nobody at the address is FESCUE_DAEMON_UNREACHABLE with the mend', async t => {
  const absent = new ApiClient({ socketPath: '/nonexistent/api.sock', name: '/nonexistent/api.sock' })
  await t.rejects(absent.call('/'), { code: 'FESCUE_DAEMON_UNREACHABLE', message: /api\.sock.*fescue start/ })
  await using api = await FakeApi.start({ 'GET /slow': () => {} })
  const slow = new ApiClient({ url: new URL(api.url), name: 'slow' })
  await t.rejects(slow.call('/slow', { timeoutMs: 20 }), {
    code: 'FESCUE_DAEMON_UNREACHABLE',
    message: /in time/,
  })
})

t.test('a stream gives its lines, however they are cut, until it ends', async t => {
  await using api = await FakeApi.start({
    'GET /lines': lines({ n: 1 }, { n: 2 }),
    'GET /cut': (_request, response) => {
      response.write('{"n":')
      setImmediate(() => response.end('3}\n\n{"n":4}'))
    },
    'GET /open': (_request, response) => response.write('{"n":5}\n'),
  })
  const client = new ApiClient({ url: new URL(api.url), name: 'there' })
  const forever = new AbortController()
  t.same(await Array.fromAsync(client.stream('/lines', forever.signal)), [{ n: 1 }, { n: 2 }])
  t.same(await Array.fromAsync(client.stream('/cut', forever.signal)), [{ n: 3 }, { n: 4 }])
  for await (const item of client.stream('/open', forever.signal)) {
    t.same(item, { n: 5 })
    forever.abort()
  }
})
