/** Every route over real sockets: what reaches the backend, and what the answer is. */
import t from 'tap'
import { bodyMaxBytes } from '#api/request.ts'
import { FescueError } from '#base/errors.ts'
import { startRig } from './api-rig.ts'

t.test('probes: health, readiness, metrics', async t => {
  await using rig = await startRig()
  rig.metrics.counter('fescue_invocations_total', 'Invocations', { function: 'f', outcome: 'ok' }).add(3)
  t.match(await rig.askBare('/healthz'), { status: 200, body: { status: 'ok' } })
  t.match(await rig.askBare('/readyz'), {
    status: 200,
    body: { ready: true, checks: [{ id: 'store', ok: true }] },
  })
  rig.backend.checks = [{ id: 'uplink.default', ok: false, optional: true }]
  t.equal((await rig.askBare('/readyz')).status, 200, 'an unreachable cloud is not unready')
  t.match(await rig.askBare('/readyz?strict=1'), { status: 503, body: { ready: false } })
  rig.backend.checks = [{ id: 'store', ok: false, message: 'disk full' }]
  t.match(await rig.askBare('/readyz'), { status: 503, body: { ready: false } })
  const metrics = await rig.askBare('/metrics')
  t.match(metrics.headers['content-type'], 'text/plain; version=0.0.4')
  t.match(metrics.text, 'fescue_invocations_total{function="f",outcome="ok"} 3\n')
})

t.test('reads: status, buffer, functions, devices', async t => {
  await using rig = await startRig()
  t.match(await rig.ask('/api/v1/status'), {
    status: 200,
    body: { device: 'greenhouse-1', mqtt: { port: 1883 } },
  })
  t.match(await rig.ask('/api/v1/buffer'), { status: 200, body: { logs: [{ log: 'ledger' }] } })
  t.match(await rig.ask('/api/v1/functions'), { status: 200, body: [{ name: 'thermostat' }] })
  t.match(await rig.ask('/api/v1/functions/thermostat'), { status: 200, body: { name: 'thermostat' } })
  t.match(await rig.ask('/api/v1/functions/nope'), { status: 404, body: { code: 'FESCUE_NOT_FOUND' } })
  t.match(await rig.ask('/api/v1/functions/a%20b'), { status: 400, body: { code: 'FESCUE_NAME_INVALID' } })
  t.match(await rig.ask('/api/v1/devices'), { status: 200, body: [{ name: 'kitchen' }] })
  const head = await rig.ask('/api/v1/status', { method: 'HEAD' })
  t.match(head, { status: 200, text: '' })
  t.ok(Number(head.headers['content-length']) > 100)
})

t.test('invoke: the body is the event, the answer is the result', async t => {
  await using rig = await startRig()
  const path = '/api/v1/functions/thermostat/invoke'
  const answer = await rig.ask(path, { method: 'POST', body: { celsius: 31 } })
  t.match(answer, {
    status: 200,
    body: { on: true },
    headers: { 'fescue-invocation-id': 'id-1', 'fescue-duration-ms': '1.500' },
  })
  t.match(await rig.ask(`${path}?topic=sensors/a&detail=1`, { method: 'POST' }), {
    body: { invocationId: 'id-1', durationMs: 1.5, published: 1, value: { on: true } },
  })
  t.same(rig.backend.calls, [
    ['invoke', 'thermostat', '{"celsius":31}', { topic: '$invoke/thermostat' }],
    ['invoke', 'thermostat', '{}', { topic: 'sensors/a' }],
  ])
})

t.test("invoke: a failure is a problem document with Lambda's error document", async t => {
  await using rig = await startRig()
  const error = {
    errorType: 'TypeError',
    errorMessage: 'no such key',
    trace: ['TypeError: no such key', 'at handler'],
  }
  rig.backend.outcome = { kind: 'failed', invocationId: 'id-2', error, durationMs: 2 }
  const path = '/api/v1/functions/thermostat/invoke'
  t.match(await rig.ask(path, { method: 'POST', body: 1 }), {
    status: 502,
    headers: {
      'content-type': 'application/problem+json',
      'x-amz-function-error': 'Unhandled',
      'fescue-invocation-id': 'id-2',
    },
    body: {
      code: 'FESCUE_FUNCTION_FAILED',
      detail: 'function thermostat: TypeError: no such key',
      error,
      invocationId: 'id-2',
    },
  })
  rig.backend.outcome = { kind: 'timeout', invocationId: 'id-3', error, durationMs: 3_000 }
  t.match(await rig.ask(path, { method: 'POST', body: 1 }), {
    status: 504,
    body: { code: 'FESCUE_FUNCTION_TIMEOUT' },
  })
  rig.backend.failure = new FescueError('FESCUE_FUNCTION_UNAVAILABLE', 'it is disabled')
  t.match(await rig.ask(path, { method: 'POST', body: 1 }), { status: 503, headers: { 'retry-after': '1' } })
})

t.test('purge, dead letters, devices, link: what they ask of the backend', async t => {
  await using rig = await startRig()
  t.match(await rig.ask('/api/v1/functions/old', { method: 'DELETE' }), { status: 200, body: { records: 2 } })
  await rig.ask('/api/v1/dead-letters')
  await rig.ask('/api/v1/dead-letters?function=thermostat&limit=5')
  t.match(await rig.ask('/api/v1/dead-letters/retry', { method: 'POST', body: { function: 'f' } }), {
    body: { count: 1 },
  })
  t.match(
    await rig.ask('/api/v1/dead-letters/drop', { method: 'POST', body: { function: 'f', offsets: [1, 2] } }),
    {
      body: { count: 2 },
    },
  )
  t.match(await rig.ask('/api/v1/devices', { method: 'POST', body: { name: 'gate' } }), {
    status: 200,
    body: { name: 'gate', password: 'generated' },
  })
  t.match(await rig.ask('/api/v1/devices/gate', { method: 'DELETE' }), { status: 204, text: '' })
  t.match(await rig.ask('/api/v1/link', { method: 'POST', body: { online: false } }), {
    body: { online: false },
  })
  await rig.ask('/api/v1/link', { method: 'POST', body: { online: true, uplink: 'cloud' } })
  t.same(rig.backend.calls, [
    ['purge', 'old'],
    ['deadLetters', { limit: 100 }],
    ['deadLetters', { function: 'thermostat', limit: 5 }],
    ['retry', { function: 'f' }],
    ['drop', { function: 'f', offsets: [1, 2] }],
    ['addDevice', 'gate'],
    ['revokeDevice', 'gate'],
    ['setLink', false, undefined],
    ['setLink', true, 'cloud'],
  ])
})

t.test('publish answers only after the commit (D1)', async t => {
  await using rig = await startRig()
  const { promise, resolve } = Promise.withResolvers<void>()
  rig.backend.committed = promise
  let answered = false
  const publishing = rig
    .ask('/api/v1/publish', { method: 'POST', body: { topic: 'a/b', payload: 'x' } })
    .then(answer => {
      answered = true
      return answer
    })
  // Another whole request on the same server passes meanwhile.
  await rig.ask('/api/v1/status')
  t.same(rig.backend.calls, [['publish', 'a/b', 'x', 1, false]])
  t.notOk(answered)
  resolve()
  t.equal((await publishing).status, 204)
})

t.test('publish takes text, JSON and base64; a full store is 503 with Retry-After', async t => {
  await using rig = await startRig()
  const publish = (body: object) => rig.ask('/api/v1/publish', { method: 'POST', body })
  await publish({ topic: 'a', payload: { on: true }, qos: 0, retain: true })
  await publish({ topic: 'a', payloadBase64: '/wA=', qos: 2 })
  await publish({ topic: 'a' })
  t.same(rig.backend.calls, [
    ['publish', 'a', '{"on":true}', 0, true],
    ['publish', 'a', '\u00ff\u0000', 2, false],
    ['publish', 'a', '', 1, false],
  ])
  for (const [body, code] of [
    [{}, 'FESCUE_REQUEST_INVALID'],
    [{ topic: 'a/+' }, 'FESCUE_TOPIC_INVALID'],
    [{ topic: '$SYS/x' }, 'FESCUE_FORBIDDEN'],
    [{ topic: 'a', qos: 3 }, 'FESCUE_REQUEST_INVALID'],
    [{ topic: 'a', retain: 'yes' }, 'FESCUE_REQUEST_INVALID'],
    [{ topic: 'a', payload: 'x', payloadBase64: 'eA==' }, 'FESCUE_REQUEST_INVALID'],
    [{ topic: 'a', payloadBase64: '%%' }, 'FESCUE_REQUEST_INVALID'],
    [{ topic: 'a', paylod: 'x' }, 'FESCUE_REQUEST_INVALID'],
  ] as const)
    t.match((await publish(body)).body, { code }, JSON.stringify(body))
  rig.backend.failure = new FescueError('FESCUE_STORE_FULL', 'the disk is full')
  t.match(await publish({ topic: 'a' }), {
    status: 503,
    headers: { 'retry-after': '5' },
    body: { retryable: true },
  })
})

t.test('bad requests are told what is wrong', async t => {
  await using rig = await startRig()
  const cases: [string, object, number, string, RegExp][] = [
    ['/api/v1/nope', {}, 404, 'FESCUE_NOT_FOUND', /nothing at/],
    ['/api/v1/statsu', {}, 404, 'FESCUE_NOT_FOUND', /did you mean \/api\/v1\/status/],
    ['/api/v1/%zz', {}, 400, 'FESCUE_REQUEST_INVALID', /broken escape/],
    ['/api/v1/status', { method: 'DELETE' }, 405, 'FESCUE_METHOD_NOT_ALLOWED', /takes GET/],
    ['/api/v1/publish', { method: 'POST', body: '{"topic":' }, 400, 'FESCUE_REQUEST_INVALID', /no JSON/],
    ['/api/v1/publish', { method: 'POST', body: [] }, 400, 'FESCUE_REQUEST_INVALID', /JSON object/],
    [
      '/api/v1/publish',
      { method: 'POST', body: 'a=b', headers: { 'content-type': 'application/x-www-form-urlencoded' } },
      415,
      'FESCUE_MEDIA_TYPE',
      /application\/json/,
    ],
    ['/api/v1/link', { method: 'POST', body: {} }, 400, 'FESCUE_REQUEST_INVALID', /online/],
    ['/api/v1/dead-letters?limit=0', {}, 400, 'FESCUE_REQUEST_INVALID', /from 1 to 1000/],
    ['/api/v1/dead-letters?function=a/b', {}, 400, 'FESCUE_NAME_INVALID', /a\/b/],
    [
      '/api/v1/dead-letters/drop',
      { method: 'POST', body: { function: 'f', offsets: [-1] } },
      400,
      'FESCUE_REQUEST_INVALID',
      /offsets/,
    ],
    ['/api/v1/dead-letters/drop', { method: 'POST', body: {} }, 400, 'FESCUE_REQUEST_INVALID', /function/],
    ['/api/v1/messages?filter=a/%23/b', {}, 400, 'FESCUE_TOPIC_INVALID', /MQTT-4.7.1-2/],
  ]
  for (const [path, ask, status, code, detail] of cases) {
    const answer = await rig.ask(path, ask)
    t.match(
      answer,
      {
        status,
        headers: { 'content-type': 'application/problem+json' },
        body: { status, code, detail, type: `/errors/${code}` },
      },
      path,
    )
  }
  t.equal((await rig.ask('/api/v1/devices', { method: 'PUT' })).headers.allow, 'GET, POST')
})

t.test('the type of a problem leads to its explanation', async t => {
  await using rig = await startRig()
  t.match(await rig.askBare('/errors/FESCUE_STORE_FULL'), {
    status: 200,
    body: { code: 'FESCUE_STORE_FULL', status: 503 },
  })
  t.equal((await rig.askBare('/errors/FESCUE_NOPE')).status, 404)
})

t.test('a body beyond its bound is refused, announced or not, and the connection is not reused', async t => {
  await using rig = await startRig()
  const body = JSON.stringify({ topic: 'a', payload: 'x'.repeat(bodyMaxBytes) })
  const announced = await rig.ask('/api/v1/publish', { method: 'POST', body })
  t.match(announced, { status: 413, body: { code: 'FESCUE_REQUEST_TOO_LARGE' } })
  const chunked = await rig.ask('/api/v1/publish', {
    method: 'POST',
    body,
    headers: { 'transfer-encoding': 'chunked' },
  })
  t.match(chunked, { status: 413, headers: { connection: 'close' } })
  t.same(rig.backend.calls, [])
})

t.test('the words of an unforeseen error stay in the log', async t => {
  const logged: unknown[] = []
  const logger = {
    debug() {},
    info() {},
    warn() {},
    error: (fields: object) => logged.push(fields),
    child: () => logger,
  }
  await using rig = await startRig({ logger })
  rig.backend.failure = new Error('password=hunter2')
  const answer = await rig.ask('/api/v1/status')
  t.match(answer, { status: 500, body: { code: 'FESCUE_INTERNAL' } })
  t.notMatch(answer.text, 'hunter2')
  t.match(logged, [{ err: { message: 'password=hunter2' } }])
})
