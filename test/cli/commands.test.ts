/** The commands against a fake API: what they ask for, what they print, how they end. */
import { mkdir, mkdtempDisposable, readdir, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { FakeApi, json, lines, problem } from '../fakes/api-server.ts'
import { FakeBackend } from '../fakes/backend.ts'
import { command } from './command.ts'

const temporary = () => mkdtempDisposable(join(tmpdir(), 'fescue-cli-'))
const ok = (answer: unknown) => json(answer)

t.test('pub takes plain arguments, and the short options of mosquitto_pub', async t => {
  await using folder = await temporary()
  await writeFile(join(folder.path, 'photo'), Buffer.from([0, 255]))
  await using api = await FakeApi.start({ 'POST /api/v1/publish': ok(null) }, folder.path)
  const input = { stdin: 'piped', cwd: folder.path, env: { FESCUE_DATA: folder.path } }
  for (const args of [
    ['a/b', '21'],
    ['-t', 'a/b', '-m', '21', '-q', '2', '-r'],
    ['a/b', '-'],
    ['a/b', '@photo'],
    ['-t', 'a/b', '-n', '-r'],
    ['a/b', '-5', '--data', folder.path],
  ]) {
    const { code, stdout, stderr } = await command(['pub', ...args], input)
    t.same([code, stdout, stderr], [0, '', ''], args.join(' '))
  }
  const sent = api.requests.map(({ body }) => body as Record<string, unknown>)
  const payloads = sent.map(({ payloadBase64 }) =>
    Buffer.from(String(payloadBase64), 'base64').toString('latin1'),
  )
  t.same(payloads, ['21', '21', 'piped', '\0\u00ff', '', '-5'])
  t.match(sent[0], { topic: 'a/b', qos: 1, retain: false })
  t.match(sent[1], { topic: 'a/b', qos: 2, retain: true })
  t.equal((await command(['pub', 'a/b'], input)).code, 2, 'no message')
  t.equal((await command(['pub', '-m', '1'], input)).code, 2, 'no topic')
  t.equal((await command(['pub', 'a', 'b', '-q', '3'], input)).code, 2, 'no such QoS')
  t.equal((await command(['pub', 'a/b', '@absent'], input)).code, 2, 'no such file')
})

t.test('sub prints payloads, topics or JSON, and ends by count or time', async t => {
  await using folder = await temporary()
  const messages = [
    { time: 0, topic: 'a/b', qos: 1, retain: false, payload: 'one\u001b[31m' },
    { time: 1, topic: 'a/c', qos: 0, retain: true, payloadBase64: 'AP8=' },
  ]
  await using api = await FakeApi.start(
    {
      'GET /api/v1/messages': (_request, response) => {
        response.writeHead(200)
        for (const message of messages) response.write(`${JSON.stringify(message)}\n`)
      },
    },
    folder.path,
  )
  const input = { env: { FESCUE_DATA: folder.path } }
  const plain = await command(['sub', 'a/+', '-C', '2'], input)
  t.equal(plain.code, 0)
  t.same(plain.bytes, Buffer.from('one\u001b[31m\n\0\u00ff\n', 'latin1'), 'byte for byte')
  t.equal(api.requests[0]?.path, '/api/v1/messages?filter=a%2F%2B')
  t.equal((await command(['sub', '-t', 'a/b', '-v', '-C', '1'], input)).stdout, 'a/b one\u001b[31m\n')
  const asJson = await command(['sub', '--json', '-C', '2'], input)
  t.same(
    asJson.stdout
      .trim()
      .split('\n')
      .map(line => JSON.parse(line)),
    messages,
  )
  const seen = await command(['sub', '-C', '2'], { ...input, isTTY: true })
  t.match(seen.stdout, /a\/b {2}one\\u001b\[31m\n/, 'on a terminal nothing steers it')
  t.match(seen.stdout, /\(2 bytes\)/)
  t.match(await command(['sub', '-C', '3', '-W', '0.1'], input), { code: 7, stderr: /FESCUE_TIMED_OUT/ })
})

t.test('sub ends when it is asked to, and says when the daemon did', async t => {
  await using folder = await temporary()
  await using _api = await FakeApi.start(
    { 'GET /api/v1/messages': lines({ time: 0, topic: 'a', payload: '' }) },
    folder.path,
  )
  const input = { env: { FESCUE_DATA: folder.path } }
  const ended = await command(['sub'], input)
  t.equal(ended.code, 1)
  t.match(ended.stderr, /ended the stream/)
})

t.test(
  'invoke prints the value; a throw is 6 with its trace, a timeout 7, an unknown function 4',
  async t => {
    await using folder = await temporary()
    await using api = await FakeApi.start(
      {
        'POST /api/v1/functions/good/invoke': ok({
          invocationId: 'i',
          durationMs: 1,
          published: 2,
          value: { on: true },
        }),
        'POST /api/v1/functions/bad/invoke': (_request, response) => {
          response.writeHead(502, { 'content-type': 'application/problem+json' })
          const error = {
            errorType: 'TypeError',
            errorMessage: 'no',
            trace: ['TypeError: no', 'at handler (index.ts:3:9)'],
          }
          response.end(
            JSON.stringify({ code: 'FESCUE_FUNCTION_FAILED', detail: 'function bad: TypeError: no', error }),
          )
        },
        'POST /api/v1/functions/slow/invoke': (_request, response) =>
          problem(response, 504, 'FESCUE_FUNCTION_TIMEOUT', 'too long'),
      },
      folder.path,
    )
    const input = { env: { FESCUE_DATA: folder.path } }
    t.match(await command(['invoke', 'good', '{"celsius":31}', '--topic', 'a/b'], input), {
      code: 0,
      stdout: '{"on":true}\n',
    })
    t.match(api.requests[0], {
      path: '/api/v1/functions/good/invoke?detail=1&topic=a%2Fb',
      body: { celsius: 31 },
    })
    t.match(JSON.parse((await command(['invoke', 'good', '--json'], input)).stdout), {
      invocationId: 'i',
      published: 2,
    })
    const bad = await command(['invoke', 'bad'], input)
    t.equal(bad.code, 6)
    t.match(bad.stderr, /at handler \(index\.ts:3:9\)/)
    t.equal(bad.stdout, '')
    t.equal((await command(['invoke', 'slow'], input)).code, 7)
    t.equal((await command(['invoke', 'absent'], input)).code, 4)
  },
)

t.test('status and buffer are readable, and the same as JSON', async t => {
  await using folder = await temporary()
  const backend = new FakeBackend()
  backend.uplink = {
    name: 'default',
    state: 'offline',
    records: 1_234,
    bytes: 4_300_000,
    oldestAt: Date.now() - 60_000,
  }
  backend.logs = [
    { log: 'inbox.a', records: 0, bytes: 0, maxBytes: 64 * 2 ** 20, overflow: 'block' },
    {
      log: 'outbox.alarms',
      records: 1_234,
      bytes: 4_300_000,
      maxBytes: 2 ** 30,
      overflow: 'drop-oldest',
      oldestAt: 1,
    },
  ]
  const status = await backend.status()
  const buffer = await backend.buffer()
  await using _api = await FakeApi.start(
    { 'GET /api/v1/status': ok(status), 'GET /api/v1/buffer': ok(buffer) },
    folder.path,
  )
  const input = { env: { FESCUE_DATA: folder.path } }
  const shown = await command(['status'], input)
  t.equal(shown.code, 0)
  t.match(shown.stdout, /^fescue 0\.1\.0 {2}greenhouse-1 {2}up 5s {2}ok\n/)
  t.match(
    shown.stdout,
    /cloud +default offline · 1,234 waiting \(4\.1 MiB\) · oldest 1m ago · last acknowledged never/,
  )
  t.match(shown.stdout, /messages +10 since the start · 40 % of them not synced/)
  t.match(shown.stdout, /lost +nothing/)
  t.same(JSON.parse((await command(['status', '--json'], input)).stdout), status)
  const logs = await command(['buffer'], input)
  t.match(
    logs.stdout,
    /^log\trecords\tsize\tof\twhen full\toldest\noutbox\.alarms\t1,234\t4\.1 MiB\t/,
    'largest first',
  )
  t.same(JSON.parse((await command(['buffer', '--json'], input)).stdout), buffer)
})

t.test('functions list shows state, counts and reasons', async t => {
  await using folder = await temporary()
  const backend = new FakeBackend()
  const entry = {
    name: 'thermostat',
    state: 'failed' as const,
    reason: 'functions/thermostat/index.ts:3:9: Unexpected "}"',
    description: '',
    revision: 'abcdef0123456789',
    triggers: [{ topic: 'sensors/+/temperature' }, { schedule: '* * * * * *' }],
    inbox: { records: 7, bytes: 700 },
    deadLetters: 2,
    invocations: { ok: 1_000, error: 3, timeout: 1 },
  }
  backend.functionList = [entry]
  await using _api = await FakeApi.start({ 'GET /api/v1/functions': ok(backend.functionList) }, folder.path)
  const input = { env: { FESCUE_DATA: folder.path } }
  const { code, stdout, stderr } = await command(['functions', 'list'], input)
  t.equal(code, 0)
  t.match(
    stdout,
    /thermostat\tfailed\tsensors\/\+\/temperature, \* \* \* \* \* \*\t7\t1,000\t4\t2\tabcdef01\n/,
  )
  t.match(stderr, /thermostat: functions\/thermostat\/index\.ts:3:9/)
  t.same(JSON.parse((await command(['functions', 'list', '--json'], input)).stdout), [entry])
})

t.test('dead-letters list, retry and drop', async t => {
  await using folder = await temporary()
  const letter = {
    function: 'thermostat',
    offset: 17,
    time: Date.now() - 5_000,
    topic: 'a/b',
    payload: '{}',
    attempts: 3,
    error: { errorType: 'TypeError', errorMessage: 'no', trace: [] },
  }
  await using api = await FakeApi.start(
    {
      'GET /api/v1/dead-letters': ok([letter]),
      'POST /api/v1/dead-letters/retry': ok({ count: 2 }),
      'POST /api/v1/dead-letters/drop': ok({ count: 1_500 }),
    },
    folder.path,
  )
  const input = { env: { FESCUE_DATA: folder.path } }
  const listed = await command(['dead-letters', 'list', '--function', 'thermostat'], input)
  t.match(listed.stdout, /thermostat\t17\t5s ago\ta\/b\t\{\}\t3\tTypeError: no\n/)
  t.equal(api.requests[0]?.path, '/api/v1/dead-letters?limit=100&function=thermostat')
  t.match(await command(['dead-letters', 'retry', 'thermostat', '17', '18'], input), {
    code: 0,
    stderr: /Retried 2/,
  })
  t.same(api.requests[1]?.body, { function: 'thermostat', offsets: [17, 18] })
  t.match(await command(['dead-letters', 'drop', 'thermostat', '--all', '--json'], input), {
    code: 0,
    stdout: /1500/,
  })
  t.same(api.requests[2]?.body, { function: 'thermostat' })
  t.equal((await command(['dead-letters', 'drop', 'thermostat'], input)).code, 2, 'never all by accident')
  t.equal((await command(['dead-letters', 'drop', 'thermostat', '1', '--all'], input)).code, 2)
  t.equal((await command(['dead-letters', 'retry', 'thermostat', 'x'], input)).code, 2)
})

t.test('devices are added, listed and revoked without a daemon', async t => {
  await using folder = await temporary()
  const data = join(folder.path, 'data')
  const added = await command(['devices', 'add', 'kitchen-sensor', '--data', data])
  t.equal(added.code, 0)
  t.match(added.stdout, /^[\w-]{22}\n$/, 'the password alone is the data')
  t.match(added.stderr, /not shown again/)
  t.notMatch(await readFile(join(data, 'devices.json'), 'utf8'), added.stdout.trim(), 'and it is not kept')
  t.match((await command(['devices', 'list', '--data', data])).stdout, /kitchen-sensor\t\d{4}-/)
  t.equal((await command(['devices', 'add', 'kitchen-sensor', '--data', data])).code, 1, 'taken')
  t.equal((await command(['devices', 'add', 'a b', '--data', data])).code, 2)
  t.match(await command(['devices', 'revoke', 'kitchen-senser', '--data', data]), {
    code: 4,
    stderr: /kitchen-sensor/,
  })
  t.equal((await command(['devices', 'revoke', 'kitchen-sensor', '--data', data])).code, 0)
  t.same(JSON.parse((await command(['devices', 'list', '--json', '--data', data])).stdout), [])
  const unnamed = await command(['devices', 'list'], { cwd: folder.path, env: { FESCUE_DATA: data } })
  t.match(unnamed.stderr, `data folder ${data}`, 'which folder it was is said when no option names it')
})

t.test('looking for devices without a daemon makes no file', async t => {
  await using folder = await temporary()
  const data = join(folder.path, 'data')
  t.match(await command(['devices', 'list', '--json', '--data', data]), { code: 0, stdout: '[]\n' })
  t.equal((await command(['devices', 'revoke', 'nobody', '--data', data])).code, 4)
  t.same(await readdir(folder.path), [], 'no folder, no secret')
})

t.test('what a receiver refused is a dead letter of its route', async t => {
  await using folder = await temporary()
  const letter = {
    route: 'alarms.9',
    offset: 3,
    time: Date.now(),
    topic: 'alarms/x',
    payload: '{}',
    attempts: 1,
    error: { errorType: 'FESCUE_UPLINK_REFUSED', errorMessage: '422', trace: [] },
  }
  await using api = await FakeApi.start(
    {
      'GET /api/v1/dead-letters': ok([letter]),
      'POST /api/v1/dead-letters/retry': ok({ count: 1 }),
      'POST /api/v1/dead-letters/drop': ok({ count: 1 }),
    },
    folder.path,
  )
  const input = { env: { FESCUE_DATA: folder.path } }
  const listed = await command(['dead-letters', 'list', '--route', 'alarms'], input)
  t.match(listed.stdout, /\nroute:alarms\.9\t3\t/)
  t.equal(api.requests[0]?.path, '/api/v1/dead-letters?limit=100&route=alarms')
  t.equal((await command(['dead-letters', 'retry', 'route:alarms.9', '3'], input)).code, 0)
  t.equal((await command(['dead-letters', 'drop', 'route:alarms.9', '--all'], input)).code, 0)
  t.same(
    api.requests.slice(1).map(({ body }) => body),
    [{ route: 'alarms.9', offsets: [3] }, { route: 'alarms.9' }],
  )
})

t.test('devices go through the daemon when one runs', async t => {
  await using folder = await temporary()
  await using api = await FakeApi.start(
    {
      'GET /api/v1/devices': ok([{ name: 'one', createdAt: '2026-01-01T00:00:00Z' }]),
      'POST /api/v1/devices': ok({ name: 'two', password: 'from-the-daemon' }),
      'DELETE /api/v1/devices/one': (_request, response) => response.writeHead(204).end(),
    },
    folder.path,
  )
  const data = ['--data', folder.path]
  t.match((await command(['devices', 'list', ...data])).stdout, /one\t2026/)
  t.equal((await command(['devices', 'add', 'two', ...data])).stdout, 'from-the-daemon\n')
  t.equal((await command(['devices', 'revoke', 'one', ...data])).code, 0)
  t.same(
    api.requests.map(({ method }) => method),
    ['GET', 'POST', 'DELETE'],
  )
})

t.test('without a daemon the mend is said; a wrong token is no success', async t => {
  await using folder = await temporary()
  const absent = await command(['status', '--data', folder.path])
  t.equal(absent.code, 3)
  t.equal(absent.stdout, '')
  t.match(absent.stderr, /no daemon answers.*fescue start/)
  t.equal((await command(['status', '--url', 'ftp://x'])).code, 2)
  await using api = await FakeApi.start({
    'GET /api/v1/status': (_request, response) =>
      problem(response, 401, 'FESCUE_NOT_AUTHORIZED', 'the token is wrong'),
  })
  const refused = await command(['status', '--url', api.url], { env: { FESCUE_TOKEN: 'abc' } })
  t.equal(refused.code, 1)
  t.match(refused.stderr, /the token is wrong \[FESCUE_NOT_AUTHORIZED\]/)
  t.equal(api.requests[0]?.authorization, 'Bearer abc')
})

t.test('the data folder comes from the config file, with what is wrong in it', async t => {
  await using folder = await temporary()
  const data = join(folder.path, 'kept')
  const file = join(folder.path, 'fescue.yaml')
  await writeFile(file, `data: ${data}\n`)
  t.match((await command(['status', '-c', file])).stderr, new RegExp(`${data}/api\\.sock`))
  await writeFile(file, 'mqqt: {}\n')
  const wrong = await command(['status', '-c', file])
  t.equal(wrong.code, 5)
  t.match(wrong.stderr, /fescue\.yaml:1:1.*mqtt/)
  t.equal((await command(['status', '-c', join(folder.path, 'absent.yaml')])).code, 5)
})

t.test('without any option a running `fescue dev` of this folder is found', async t => {
  await using folder = await temporary()
  const dev = join(folder.path, 'data', 'dev')
  await mkdir(dev, { recursive: true })
  const status = await new FakeBackend().status()
  await using _api = await FakeApi.start({ 'GET /api/v1/status': ok(status) }, dev)
  const { code, stdout } = await command(['status', '--json'], { cwd: folder.path })
  t.equal(code, 0)
  t.same(JSON.parse(stdout), status)
})
