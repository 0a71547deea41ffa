/** `fescue check` on machines and folders that are right, and on those that are not: what it says, how it ends. */
import { once } from 'node:events'
import { mkdir, mkdtempDisposable, readdir, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import t from 'tap'
import { FakeApi, json } from '../fakes/api-server.ts'
import { FakeBackend } from '../fakes/backend.ts'
import { command } from './command.ts'

interface Row {
  readonly id: string
  readonly verdict: 'ok' | 'warning' | 'failed'
  readonly text: string
  readonly mend?: string
}

/** A folder with a config and functions, and what check says of it. */
async function place(config: string, functions: Readonly<Record<string, string>> = {}) {
  const folder = await mkdtempDisposable(join(tmpdir(), 'fescue-check-'))
  const file = join(folder.path, 'fescue.yaml')
  await writeFile(file, config)
  await mkdir(join(folder.path, 'functions'))
  for (const [name, content] of Object.entries(functions)) {
    const path = join(folder.path, 'functions', name)
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, content)
  }
  return {
    path: folder.path,
    run: (...more: string[]) => command(['check', '-c', file, ...more], { cwd: folder.path }),
    async rows(...more: string[]): Promise<{ code: number; rows: Map<string, Row[]> }> {
      const { code, stdout } = await command(['check', '-c', file, '--json', ...more], { cwd: folder.path })
      const { findings } = JSON.parse(stdout) as { findings: Row[] }
      return { code, rows: Map.groupBy(findings, ({ id }) => id) }
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  }
}

const quiet = 'mqtt: { port: 0 }\nhttp: { port: 0 }\nlimits: { freeDiskMin: 1 }\n'
const manifest = (trigger: string, publish: string) =>
  `triggers:\n  - topic: ${trigger}\npermissions:\n  publish: [${publish}]\n`
const source = 'export async function handler() {}\n'

t.test('a place that is right: every line a tick, code 0, nothing written', async t => {
  await using here = await place(quiet, {
    'fan/function.yaml': manifest('sensors/+/temperature', 'actuators/+/fan'),
    'fan/index.ts': source,
  })
  const { code, stdout, stderr } = await here.run()
  t.equal(code, 0, stdout)
  t.match(stdout, /^Configuration\n✔ config +\/.*fescue\.yaml\n/)
  t.match(stdout, /\nMachine\n✔ data +\/.*\/data \(will be made\) is writable\n✔ disk /)
  t.match(stdout, /✔ port\.mqtt +127\.0\.0\.1, any free port\n/)
  t.match(
    stdout,
    /\nFunctions\n✔ function\.fan +on sensors\/\+\/temperature; may publish actuators\/\+\/fan\n$/,
  )
  t.match(stderr, /\d+ ok, 0 warnings, 0 failed\n$/)
  t.same((await readdir(here.path)).sort(), ['fescue.yaml', 'functions'])
  t.notMatch(stdout, '\u001b', 'no colour in a pipe')
})

t.test('an invalid config is all that is said, with code 5', async t => {
  await using here = await place('mqqt: {}\nlog: { level: loud }\n')
  const { code, rows } = await here.rows()
  t.equal(code, 5)
  t.match(rows.get('config'), [{ verdict: 'failed', text: /:1:1: .*did you mean mqtt/ }, { text: /:2:15:/ }])
})

t.test('functions: what does not compile, what nothing starts, what starts itself', async t => {
  await using here = await place(quiet, {
    'broken/function.yaml': manifest('a', 'b'),
    'broken/index.ts': 'export async function handler( {}\n',
    'mistyped/function.yaml': 'trigers: []\n',
    'mistyped/index.ts': source,
    'idle/function.yaml': 'description: nothing starts it\n',
    'idle/index.ts': source,
    'self/function.yaml': manifest('house/+/light', '"house/#"'),
    'self/index.ts': source,
    'ping/function.yaml': manifest('ping', 'pong/x'),
    'ping/index.ts': source,
    'pong/function.yaml': manifest('pong/+', 'ping'),
    'pong/index.ts': source,
  })
  const { code, rows } = await here.rows()
  t.equal(code, 1)
  t.match(rows.get('function.broken'), [{ verdict: 'failed', text: /index\.ts:\d+:\d+: [\s\S]*> \d \|/ }])
  t.match(rows.get('function.mistyped'), [{ verdict: 'failed', text: /function\.yaml:1:1: .*triggers/ }])
  t.match(rows.get('function.idle'), [{ verdict: 'ok' }, { verdict: 'warning', text: 'nothing starts it' }])
  t.match(rows.get('function.self')?.[1], {
    verdict: 'warning',
    text: 'a loop: self may publish house/#, which starts self (house/+/light)',
  })
  t.match(rows.get('function.ping')?.[1], {
    text: 'a loop: ping may publish pong/x, which starts pong (pong/+); pong may publish ping, which starts ping (ping)',
  })
  t.equal(rows.get('function.pong')?.length, 1, 'a loop is told once')
  t.match(
    (await here.run()).stderr,
    /not ready: function\.broken, function\.mistyped \[FESCUE_CHECK_FAILED\]/,
  )
})

t.test('warnings end with 0, and with 1 when they are to count', async t => {
  await using here = await place(quiet)
  t.equal((await here.rows()).code, 0)
  const strict = await here.rows('--strict')
  t.equal(strict.code, 1)
  t.match(strict.rows.get('functions'), [{ verdict: 'warning', text: /has none/ }])
})

t.test('a port that is taken names its owner; one that our daemon holds is fine', async t => {
  const server = createServer().listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await using here = await place(`mqtt: { port: ${port} }\nhttp: { port: 0 }\nlimits: { freeDiskMin: 1 }\n`)
  const taken = await here.rows()
  t.equal(taken.code, 1)
  t.match(taken.rows.get('port.mqtt'), [
    { verdict: 'failed', text: new RegExp(`:${port} is taken by pid ${process.pid} `), mend: /mqtt\.port/ },
  ])
  await mkdir(join(here.path, 'data'))
  const status = { ...(await new FakeBackend().status()), mqtt: { host: '127.0.0.1', port } }
  await using _api = await FakeApi.start({ 'GET /api/v1/status': json(status) }, join(here.path, 'data'))
  const held = await here.rows()
  t.equal(held.code, 0)
  t.match(held.rows.get('port.mqtt'), [{ verdict: 'ok', text: /held by the running daemon/ }])
  t.match(held.rows.get('data'), [{ text: /in use by the daemon/ }])
})

t.test('what keeps a network listener from starting, and what travels unencrypted', async t => {
  await using here = await place(
    'mqtt: { host: 0.0.0.0, port: 0 }\nhttp: { port: 0 }\nlimits: { freeDiskMin: 1 }\n' +
      'uplink: { url: "http://cloud.example.com/v1", token: hush }\n',
  )
  const { code, rows } = await here.rows()
  t.equal(code, 1)
  t.match(rows.get('users'), [
    { verdict: 'failed', mend: `fescue devices add NAME --data ${here.path}/data` },
  ])
  t.match(rows.get('tls'), [{ verdict: 'warning' }])
  t.match(rows.get('uplink.default'), [{ text: /token travels/ }, { text: 'no route leads to it' }])
  t.equal((await command(['devices', 'add', 'one', '--data', join(here.path, 'data')])).code, 0)
  t.match((await here.rows()).rows.get('users'), [{ verdict: 'ok', text: '1 may connect' }])
})

t.test('a disk below the floor, an address that is not ours', async t => {
  await using here = await place(
    'mqtt: { port: 0 }\nhttp: { host: 203.0.113.7, port: 8484 }\nlimits: { freeDiskMin: 900TiB }\n',
  )
  const { code, rows } = await here.rows()
  t.equal(code, 1)
  t.match(rows.get('disk'), [{ verdict: 'failed', text: /below the floor/, mend: /limits\.freeDiskMin/ }])
  t.match(rows.get('port.http'), [
    { verdict: 'failed', text: /no address 203\.0\.113\.7/, mend: /http\.host/ },
  ])
})
