import { once } from 'node:events'
import { createServer } from 'node:net'
import t from 'tap'
import { type ErrorCode, FescueError } from '#base/errors.ts'
import { withRemedy } from '#cli/start-error.ts'
import { loadConfig } from '#config/load-config.ts'

/** What a start that failed with this code says, of a daemon with its data in /srv/here. */
async function told(code: ErrorCode, message: string, flags: Record<string, string | number> = {}) {
  const { config } = await loadConfig({
    file: undefined,
    environment: {},
    flags: { data: 'here', ...flags },
    cwd: '/srv',
  })
  return await withRemedy(new FescueError(code, message), config)
}

t.test('a port that is taken comes with its owner and the way to another', async t => {
  const server = createServer().listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0
  t.match(await told('FESCUE_PORT_TAKEN', `port ${port}`, { 'http.port': port }), {
    code: 'FESCUE_PORT_TAKEN',
    message: new RegExp(`^port ${port} is taken by pid ${process.pid} .*--http-port or http\\.port`),
  })
})

t.test('the command that adds a device names the data folder of this daemon', async t => {
  t.match(await told('FESCUE_LISTEN_NO_USERS', 'no users', { 'mqtt.host': '0.0.0.0' }), {
    code: 'FESCUE_LISTEN_NO_USERS',
    message: /0\.0\.0\.0 .*"fescue devices add NAME --data \/srv\/here"/,
  })
})

t.test('a data folder in use is told by its name, whichever part of it was met first', async t => {
  t.match(await told('FESCUE_STORE_LOCKED', 'another process uses /srv/here/cloud'), {
    code: 'FESCUE_STORE_LOCKED',
    message: /data folder \/srv\/here already.*--data DIR/,
  })
})

t.test('any other error stays as it is', async t => {
  const { config } = await loadConfig({ file: undefined, environment: {}, flags: {}, cwd: '/srv' })
  for (const error of [new Error('odd'), new FescueError('FESCUE_STORE_FAILED', 'odd')])
    t.equal(await withRemedy(error, config), error)
})
