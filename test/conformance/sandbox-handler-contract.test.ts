/** The handler contract of AWS Lambda for Node, and what a message adds to it. */
import t from 'tap'
import type { FunctionSpec, Sandbox } from '#sandbox/sandbox.ts'
import { createSandbox } from '#sandbox/supervisor.ts'
import { callOnce, itemOf, runBatch, specOf } from '../fakes/sandbox-rig.ts'

let loaded = 0
async function run(sandbox: Sandbox, code: string, event: unknown = {}, more: Partial<FunctionSpec> = {}) {
  const name = `f${loaded++}`
  sandbox.load(specOf(name, code, more))
  return runBatch(sandbox, name, [
    itemOf(7, event, { topic: 'home/kitchen', attempt: 2, qos: 2, retain: true }),
  ])
}

async function value(sandbox: Sandbox, code: string, event: unknown = {}, more: Partial<FunctionSpec> = {}) {
  const { end, results } = await run(sandbox, code, event, more)
  if (end.kind !== 'done') return end
  return JSON.parse(results.get(0)?.value ?? '')
}

t.test('handlers', async t => {
  await using sandbox = createSandbox()

  await t.test('async, sync, thenable and callback results count', async t => {
    t.equal(await value(sandbox, `exports.handler = async event => event.n + 1`, { n: 1 }), 2)
    t.equal(await value(sandbox, `exports.handler = event => event.n + 1`, { n: 1 }), 2)
    t.equal(await value(sandbox, `exports.handler = () => ({ then(ok) { ok('then') } })`), 'then')
    t.equal(
      await value(sandbox, `exports.handler = (event, context, callback) => callback(null, 'back')`),
      'back',
    )
    t.equal(
      await value(
        sandbox,
        `exports.handler = (event, context, done) => { setTimeout(() => done(null, 'late'), 5) }`,
      ),
      'late',
    )
    t.equal(await value(sandbox, `exports.handler = () => {}`), null)
    t.equal(await value(sandbox, `exports.handler = async () => undefined`), null)
    t.equal(
      await value(sandbox, `exports.handler = async () => () => 1`),
      null,
      'a function has no JSON text',
    )
  })

  await t.test('the first outcome counts', async t => {
    const code = `exports.handler = (event, context, callback) => { callback(null, 1); callback(null, 2); context.fail('no') }`
    t.equal(await value(sandbox, code), 1)
    t.match(await value(sandbox, `exports.handler = (e, c, back) => { back('bad'); back(null, 1) }`), {
      kind: 'failed',
      error: { errorType: 'string', errorMessage: 'bad', trace: [] },
    })
  })

  await t.test('done, succeed and fail of the context end it too', async t => {
    t.equal(await value(sandbox, `exports.handler = (e, c) => { setTimeout(() => c.succeed(3), 1) }`), 3)
    t.equal(await value(sandbox, `exports.handler = (e, c) => { setTimeout(() => c.done(null, 4), 1) }`), 4)
    t.match(await value(sandbox, `exports.handler = (e, c) => { setTimeout(() => c.fail(), 1) }`), {
      error: { errorMessage: 'handled' },
    })
  })

  await t.test('a handler that never calls back succeeds with null when nothing is pending', async t => {
    t.equal(await value(sandbox, `exports.handler = (e, c, callback) => { setTimeout(() => {}, 3) }`), null)
    t.equal(await value(sandbox, `exports.handler = (e, c, callback) => {}`), null)
  })

  await t.test('the context has Lambda’s fields and the message’s', async t => {
    const code = `exports.handler = async (event, c) => ({ ...c, awsRequestId: c.awsRequestId, client: c.clientContext,
      left: c.getRemainingTimeInMillis() })`
    t.match(await value(sandbox, code, {}, { memoryMiB: 24, timeoutMs: 1500 }), {
      awsRequestId: '00000000-0000-8000-8000-000000000007',
      functionVersion: 'abababababab',
      memoryLimitInMB: '24',
      invokedFunctionArn: /^arn:.*:function:f\d+$/,
      logGroupName: /^\/fescue\/f\d+$/,
      logStreamName: 'abababababab',
      callbackWaitsForEmptyEventLoop: true,
      client: { custom: { subject: 'home/kitchen' }, Custom: { subject: 'home/kitchen' } },
      topic: 'home/kitchen',
      time: 1_700_000_000_007,
      attempt: 2,
      qos: 2,
      retain: true,
      left: 1500,
    })
  })

  await t.test('events: JSON, plain words, nothing, bytes; broken JSON fails', async t => {
    const echo = `exports.handler = async event => [typeof event, event]`
    t.same(await value(sandbox, echo, { a: ['ü', '😀'] }), ['object', { a: ['ü', '😀'] }])
    t.same(await value(sandbox, echo, Buffer.from('21.5')), ['number', 21.5])
    t.same(await value(sandbox, echo, Buffer.from('ON')), ['string', 'ON'])
    t.same(await value(sandbox, echo, Buffer.from(`${'long '.repeat(50)}ü`)), [
      'string',
      `${'long '.repeat(50)}ü`,
    ])
    t.same(await value(sandbox, echo, Buffer.from('')), ['object', null])
    t.match(await value(sandbox, echo, Buffer.from('{"a":')), {
      kind: 'failed',
      index: 0,
      error: { errorType: 'Runtime.MalformedEvent' },
    })
    const bytes = `exports.handler = async event => [event.constructor.name, ...event]`
    t.same(await value(sandbox, bytes, Buffer.from([0, 255, 128]), { payload: 'binary' }), [
      'Uint8Array',
      0,
      255,
      128,
    ])
    t.same(await value(sandbox, bytes, Buffer.alloc(0), { payload: 'binary' }), ['Uint8Array'])
  })

  await t.test('handler strings name exports, also nested ones', async t => {
    const code = `exports.a = { b: async () => 'deep' }; exports.default = async () => 'default'`
    t.equal(await value(sandbox, code, {}, { handler: 'index.a.b' }), 'deep')
    t.equal(await value(sandbox, code, {}, { handler: 'index.default' }), 'default')
    t.match(await value(sandbox, code, {}, { handler: 'index.handler' }), {
      kind: 'broken',
      error: {
        errorType: 'Runtime.HandlerNotFound',
        errorMessage: 'index.handler is undefined or not exported',
      },
    })
  })

  await t.test('code that does not load is broken, with Lambda’s words', async t => {
    t.match(await value(sandbox, 'exports.handler = async () => { const }'), {
      kind: 'broken',
      error: { errorType: 'Runtime.UserCodeSyntaxError', errorMessage: /index\.js:1:/ },
    })
    t.match(await value(sandbox, `require('left-pad')`), {
      kind: 'broken',
      error: { errorType: 'Runtime.ImportModuleError' },
    })
    t.match(await value(sandbox, `throw new RangeError('at load')`), {
      kind: 'broken',
      error: { errorType: 'RangeError', errorMessage: 'at load', trace: [/RangeError/, /index\.js:1:\d+/] },
    })
    t.match(await value(sandbox, `Promise.reject(new Error('forgotten')); exports.handler = async () => 1`), {
      kind: 'broken',
      error: { errorType: 'Runtime.UnhandledPromiseRejection' },
    })
    t.match(
      await value(
        sandbox,
        `const { state } = require('fescue'); state.get('a').catch(e => { throw e }); exports.handler = 1`,
      ),
      {
        kind: 'broken',
      },
    )
  })

  await t.test('a broken function can be mended by another spec', async t => {
    sandbox.load(specOf('mend', 'exports.nothing = 1'))
    t.equal((await runBatch(sandbox, 'mend', [itemOf(1, {})])).end.kind, 'broken')
    t.equal((await runBatch(sandbox, 'mend', [itemOf(1, {})])).end.kind, 'broken', 'and stays so')
    sandbox.load(specOf('mend', 'exports.handler = async () => 1'))
    t.equal(await callOnce(sandbox, 'mend', {}), 1)
  })

  await t.test('errors carry name, message and the function’s own stack lines', async t => {
    const end = await value(
      sandbox,
      `function deep() { throw new TypeError('no') }\nexports.handler = async () => deep()`,
    )
    t.match(end, { kind: 'failed', index: 0, error: { errorType: 'TypeError', errorMessage: 'no' } })
    t.match(end.error.trace, [/^TypeError: no$/, /at deep \(f\d+\/index\.js:1:25\)$/, /index\.js:2:/])
    t.notMatch(end.error.trace.join(), /fescue:guest/)
    const custom = `class Mine extends Error { name = 'Mine' }; exports.handler = async () => { throw new Mine('own') }`
    t.match(await value(sandbox, custom), { error: { errorType: 'Mine', errorMessage: 'own' } })
    t.match(await value(sandbox, `exports.handler = async () => { throw { a: 1 } }`), {
      error: { errorType: 'object', errorMessage: '[object Object]', trace: [] },
    })
    t.match(
      await value(
        sandbox,
        `exports.handler = () => { setTimeout(() => { throw new Error('in a timer') }, 1) }`,
      ),
      {
        kind: 'failed',
        error: { errorMessage: 'in a timer' },
      },
    )
  })

  await t.test('environment and Lambda’s variables stand in process.env', async t => {
    const code = `exports.handler = async () => [process.env.THRESHOLD, process.env.AWS_LAMBDA_FUNCTION_NAME, process.env.PATH ?? 'none']`
    t.match(await value(sandbox, code, {}, { environment: { THRESHOLD: '28' } }), ['28', /^f\d+$/, 'none'])
  })
})

t.test('module state lives on over messages and ends with a failure', async t => {
  await using sandbox = createSandbox()
  sandbox.load(
    specOf(
      'counts',
      `let n = 0; exports.handler = async e => { n++; if (e.bad) throw new Error('bad'); return n }`,
    ),
  )
  const values = async (events: object[]) => {
    const { results } = await runBatch(
      sandbox,
      'counts',
      events.map((event, i) => itemOf(i, event)),
    )
    return [...results.values()].map(result => Number(result.value))
  }
  t.same(await values([{}, {}]), [1, 2])
  t.same(await values([{}, { bad: 1 }, {}]), [3])
  t.same(await values([{}]), [1], 'what the failed invocation left is gone')
})

t.test('a rejection nobody handles is charged to the message that made it', async t => {
  await using sandbox = createSandbox()
  const code = `exports.handler = async e => { if (e.bad) Promise.reject(new Error('of ' + e.n)); return e.n }`
  sandbox.load(specOf('forgets', code))
  const items = Array.from({ length: 20 }, (_, n) => itemOf(n, { n, bad: n === 13 }))
  const { end, results, order } = await runBatch(sandbox, 'forgets', items)
  t.match(end, {
    kind: 'failed',
    index: 13,
    error: { errorType: 'Runtime.UnhandledPromiseRejection', errorMessage: 'Error: of 13' },
  })
  t.same(
    order,
    Array.from({ length: 13 }, (_, n) => n),
    'those before it count, once',
  )
  t.equal(results.get(12)?.value, '12')
})

t.test('log lines come with their invocation, and a flood of them is cut and counted', async t => {
  await using sandbox = createSandbox()
  sandbox.load(
    specOf(
      'talks',
      `console.warn('loading'); exports.handler = async e => {
        console.log('n=%d %s', e.n, 'x', { a: [1, { b: new Map([['k', 'v']]) }] })
        if (e.flood) for (let i = 0; i < 100000; i++) console.log('y'.repeat(100)) }`,
    ),
  )
  const { end, logs } = await runBatch(sandbox, 'talks', [
    itemOf(1, { n: 1 }),
    itemOf(2, { n: 2, flood: true }),
  ])
  t.equal(end.kind, 'done')
  t.same(logs.slice(0, 3), [
    { invocationId: '', level: 'warn', text: 'loading' },
    {
      invocationId: itemOf(1, {}).invocationId,
      level: 'info',
      text: `n=1 x { a: [1, { b: [Object] }] }`,
    },
    {
      invocationId: itemOf(2, {}).invocationId,
      level: 'info',
      text: `n=2 x { a: [1, { b: [Object] }] }`,
    },
  ])
  const characters = logs.reduce((sum, line) => sum + line.text.length, 0)
  t.ok(characters < 2 * 262_144, `${characters} characters of 10,000,000`)
  t.match(logs.at(-1), {
    level: 'warn',
    text: /^\d+ log lines dropped: more than 262144 characters in a second$/,
  })
})

t.test('timers of a message end with it', async t => {
  await using sandbox = createSandbox()
  const code = `let fired = 0; exports.handler = async e => { if (e.set) { setTimeout(() => fired++, 5); setInterval(() => fired++, 5) }
    else await new Promise(r => setTimeout(r, 40)); return fired }`
  sandbox.load(specOf('timers', code))
  const { results, end } = await runBatch(sandbox, 'timers', [itemOf(1, { set: true }), itemOf(2, {})])
  t.equal(end.kind, 'done')
  t.equal(results.get(1)?.value, '0', 'nothing of the first message ran in the second')
})
