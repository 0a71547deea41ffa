/** The listeners of the API: how they start, what they cut, how they stop (D7). */
import { mkdir, mkdtempDisposable, stat, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { startApi } from '#api/api.ts'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import { startRig, token } from './api-rig.ts'

t.test('a client that does not finish its headers is cut', async t => {
  await using rig = await startRig()
  const socket = connect(rig.api.port, '127.0.0.1')
  socket.write('GET /healthz HTTP/1.1\r\nHost: ')
  const started = performance.now()
  const text = Buffer.concat(await Array.fromAsync(socket)).toString()
  t.match(text, /^HTTP\/1\.1 408 /)
  t.ok(performance.now() - started < 10_000)
})

t.test('a taken port is named, and the start leaves nothing open', async t => {
  await using rig = await startRig()
  await using folder = await mkdtempDisposable(join(tmpdir(), 'fescue-api-'))
  const { backend, metrics } = rig
  const starting = startApi({
    backend,
    metrics,
    dataFolder: folder.path,
    http: { host: '127.0.0.1', port: rig.api.port, hosts: [] },
    token,
    pages: undefined,
    clock: systemClock,
    logger: silentLogger,
  })
  await t.rejects(starting, { code: 'FESCUE_PORT_TAKEN', message: /http\.port/ })
  await t.rejects(stat(join(folder.path, 'api.sock')), { code: 'ENOENT' })
})

t.test('a socket left by a crash is replaced', async t => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'fescue-api-'))
  await writeFile(join(folder.path, 'api.sock'), '')
  await using rig = await startRig({ dataFolder: folder.path })
  t.equal((await rig.askSocket('/healthz')).status, 200)
})

t.test('a folder too long for a socket leaves the port', async t => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'fescue-api-'))
  const dataFolder = join(folder.path, 'x'.repeat(120))
  await mkdir(dataFolder)
  await using rig = await startRig({ dataFolder })
  t.equal(rig.api.socketPath, undefined)
  t.equal((await rig.ask('/api/v1/status')).status, 200)
})

t.test('drain finishes the request in hand, takes no new one, and a second stop is nothing', async t => {
  await using rig = await startRig()
  const { promise, resolve } = Promise.withResolvers<void>()
  rig.backend.committed = promise
  const publishing = rig.ask('/api/v1/publish', { method: 'POST', body: { topic: 'a' } })
  // The call has reached the backend once it is recorded.
  while (rig.backend.calls.length === 0) await rig.ask('/healthz')
  const running = rig.api.run(AbortSignal.timeout(60_000))
  const draining = rig.api.drain(10_000)
  await t.rejects(rig.ask('/api/v1/status'), { code: 'ECONNREFUSED' })
  resolve()
  t.equal((await publishing).status, 204)
  await draining
  await rig.api[Symbol.asyncDispose]()
  await rig.api[Symbol.asyncDispose]()
  await running
  await t.rejects(stat(join(rig.folder, 'api.sock')), { code: 'ENOENT' })
})

t.test('drain gives up after its grace', async t => {
  await using rig = await startRig()
  rig.backend.committed = new Promise(() => {})
  const publishing = rig
    .ask('/api/v1/publish', { method: 'POST', body: { topic: 'a' } })
    .catch((error: Error) => error)
  while (rig.backend.calls.length === 0) await rig.ask('/healthz')
  const alive = setTimeout(() => {}, 5_000)
  await rig.api.drain(50)
  await rig.api[Symbol.asyncDispose]()
  t.match(await publishing, { code: 'ECONNRESET' })
  clearTimeout(alive)
})
