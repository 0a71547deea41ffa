/** The module `fescue`: effects, their permission, and state as the handler sees it. */
import t from 'tap'
import { createSandbox } from '#sandbox/supervisor.ts'
import { callOnce, itemOf, runBatch, specOf } from '../fakes/sandbox-rig.ts'

const head = `const { publish, state } = require('fescue');`

t.test('publish', async t => {
  await using sandbox = createSandbox()
  const publishing = (
    name: string,
    body: string,
    publish: string[] = ['out/+/fan', 'all/#', '+/tail', '$odd/x'],
  ) => {
    sandbox.load(specOf(name, `${head} exports.handler = async event => { ${body} }`, { publish }))
    return runBatch(sandbox, name, [itemOf(1, {})])
  }

  await t.test('text, bytes, objects and options become effects in their order', async t => {
    const { results } = await publishing(
      'ordered',
      `publish('out/a/fan', { on: true, word: 'ü' }); publish('all/x', 'text €', { qos: 0, retain: true })
       publish('all/y', new Uint8Array([0, 255]), { qos: 2 }); publish('all', new Uint8Array([1,2,3,4]).subarray(1, 3))
       publish('all/z', Buffer.from('buf')); publish('all/n', undefined); publish('all/num', 5)`,
    )
    const effects = results
      .get(0)
      ?.effects.map(effect =>
        effect.type === 'publish'
          ? [effect.topic, effect.payload.toString('latin1'), effect.qos, effect.retain]
          : [effect.type],
      )
    t.same(effects, [
      ['out/a/fan', Buffer.from('{"on":true,"word":"ü"}').toString('latin1'), 1, false],
      ['all/x', Buffer.from('text €').toString('latin1'), 0, true],
      ['all/y', '\x00\xff', 2, false],
      ['all', '\x02\x03', 1, false],
      ['all/z', 'buf', 1, false],
      ['all/n', '', 1, false],
      ['all/num', '5', 1, false],
    ])
  })

  await t.test('a large payload arrives whole', async t => {
    const { results } = await publishing(
      'large',
      `publish('all/a', 'é'.repeat(300000)); publish('all/b', new Uint8Array(200000).fill(7)); return 'z'.repeat(100000)`,
    )
    const [a, b] = results.get(0)?.effects ?? []
    t.equal(a?.type === 'publish' && a.payload.toString(), 'é'.repeat(300_000))
    t.same(b?.type === 'publish' && b.payload, Buffer.alloc(200_000, 7))
    t.equal(results.get(0)?.value.length, 100_002)
  })

  await t.test('a topic that the manifest does not grant throws, with the line to add', async t => {
    for (const [topic, granted] of [
      ['out/a/fan', true],
      ['out/fan', false],
      ['out/a/b/fan', false],
      ['all', true],
      ['all/a/b', true],
      ['allx', false],
      ['x/tail', true],
      ['/tail', true],
      ['$x/tail', false],
      ['$odd/x', true],
      ['x.tail', false],
    ] as const) {
      const { end } = await publishing(
        `grant-${topic.replaceAll(/\W/g, '_')}`,
        `publish(${JSON.stringify(topic)}, 1)`,
      )
      t.equal(end.kind, granted ? 'done' : 'failed', topic)
      if (end.kind === 'failed')
        t.ok(end.error.errorMessage.includes(`permissions: publish: [${topic}]`), end.error.errorMessage)
    }
    t.equal((await publishing('none', `publish('a', 1)`, [])).end.kind, 'failed', 'without grants nothing')
  })

  await t.test('what MQTT forbids throws', async t => {
    for (const call of [`'a/+'`, `'a/#'`, `''`, `'a\\0'`, `5`, `'all', Symbol()`, `'all', 1, { qos: 3 }`])
      t.equal(
        (await publishing(`bad-${Buffer.from(call).toString('hex').slice(0, 40)}`, `publish(${call})`, ['#']))
          .end.kind,
        'failed',
        call,
      )
  })

  await t.test('effects of a message that fails are not there', async t => {
    sandbox.load(
      specOf(
        'half',
        `${head} exports.handler = async e => { publish('out/x', e); if (e.bad) throw new Error('no') }`,
      ),
    )
    const { end, results } = await runBatch(sandbox, 'half', [itemOf(1, {}), itemOf(2, { bad: true })])
    t.equal(end.kind, 'failed')
    t.same([...results.keys()], [0])
  })

  await t.test('outside of a handler there is nothing to add to', async t => {
    sandbox.load(specOf('early', `${head} publish('out/x', 1); exports.handler = async () => 1`))
    t.match((await runBatch(sandbox, 'early', [itemOf(1, {})])).end, {
      kind: 'broken',
      error: { errorMessage: /only while a handler runs/ },
    })
  })
})

t.test('effects of work that a handler left behind are refused, never added to another message', async t => {
  await using sandbox = createSandbox()
  const items = Array.from({ length: 6 }, (_, n) => itemOf(n, { n }))
  const after = (hops: number, effect: string) =>
    `${head} exports.handler = async e => { void (async () => { for (let i = 0; i < ${hops}; i++) await null; try { ${effect} } catch {} })(); return e.n }`
  for (const [effect, hops] of [
    [`publish('out/x', e.n)`, 3],
    [`await state.set('late', e.n)`, 3],
    [`publish('out/x', e.n)`, 50],
    [`for (;;) { try { publish('out/x', e.n) } catch {} if (++i2 > 500) break; await null }`, 3],
  ] as const) {
    sandbox.load(specOf('late', `let i2 = 0; ${after(hops, effect)}`))
    const { end, results } = await runBatch(sandbox, 'late', items)
    t.equal(end.kind, 'done', effect)
    t.same(
      [...results.values()].map(each => each.effects),
      items.map(() => []),
      effect,
    )
    sandbox.unload('late')
  }
  sandbox.load(
    specOf(
      'fails',
      `${head} exports.handler = async e => { if (e.n === 2) void (async () => { await null; await null; publish('out/x', 1) })() }`,
    ),
  )
  t.match((await runBatch(sandbox, 'fails', items)).end, {
    kind: 'failed',
    index: 2,
    error: { errorMessage: /only while a handler runs/ },
  })
})

t.test('state', async t => {
  await using sandbox = createSandbox()

  await t.test('a message sees what those before it wrote, and reads a key from outside once', async t => {
    sandbox.load(
      specOf(
        'counts',
        `${head} exports.handler = async () => { const n = (await state.get('n')) ?? 0; await state.set('n', n + 1); return [n, await state.get('n')] }`,
      ),
    )
    const state = new Map([['n', '40']])
    const items = Array.from({ length: 100 }, (_, n) => itemOf(n, {}))
    const { results, reads, end } = await runBatch(sandbox, 'counts', items, state)
    t.equal(end.kind, 'done')
    t.equal(results.get(0)?.value, '[40,41]')
    t.equal(results.get(99)?.value, '[139,140]')
    t.same(reads, ['n'])
    t.same(results.get(99)?.effects, [{ type: 'set', key: 'n', value: '140' }])
    const more = await runBatch(sandbox, 'counts', [itemOf(200, {})], state)
    t.same([more.results.get(0)?.value, more.reads], ['[140,141]', []], 'the next batch knows it still')
  })

  await t.test('delete, absent keys, and values are copies', async t => {
    sandbox.load(
      specOf(
        'values',
        `${head} exports.handler = async () => {
          const a = await state.get('a'); a.list.push(2); const b = await state.get('a'); await state.delete('a')
          await state.set('o', { x: 1 }); const o = await state.get('o'); o.x = 2
          return [b, (await state.get('a')) ?? 'absent', (await state.get('never')) ?? 'absent', await state.get('o')] }`,
      ),
    )
    const state = new Map([['a', '{"list":[1]}']])
    t.same(await callOnce(sandbox, 'values', {}, state), [{ list: [1] }, 'absent', 'absent', { x: 1 }])
    t.same([...state.keys()], ['o'])
  })

  await t.test('what a failed message wrote is forgotten', async t => {
    sandbox.load(
      specOf(
        'fails',
        `${head} exports.handler = async e => { const n = (await state.get('n')) ?? 0; await state.set('n', n + 1); if (e.bad) throw new Error('no'); return n }`,
      ),
    )
    const state = new Map<string, string>()
    await runBatch(sandbox, 'fails', [itemOf(1, {}), itemOf(2, { bad: 1 })], state)
    t.equal(await callOnce(sandbox, 'fails', {}, state), 1)
  })

  await t.test('after unload it reads again from outside', async t => {
    const code = `${head} exports.handler = async () => state.get('n')`
    sandbox.load(specOf('fresh', code))
    const state = new Map([['n', '1']])
    t.equal(await callOnce(sandbox, 'fresh', {}, state), 1)
    state.set('n', '2')
    t.equal(await callOnce(sandbox, 'fresh', {}, state), 1, 'an isolate remembers')
    sandbox.unload('fresh')
    sandbox.load(specOf('fresh', code))
    t.equal(await callOnce(sandbox, 'fresh', {}, state), 2)
  })

  await t.test('keys and values that cannot be are refused', async t => {
    sandbox.load(
      specOf(
        'refuses',
        `${head} exports.handler = async e => { const f = new Function('state', 'return ' + e.call); await f(state) }`,
      ),
    )
    for (const call of [
      `state.get('')`,
      `state.get(5)`,
      `state.get('k'.repeat(513))`,
      `state.set('k')`,
      `state.set('k', () => 1)`,
      `state.set('k', 1n)`,
    ])
      t.equal((await runBatch(sandbox, 'refuses', [itemOf(1, { call })])).end.kind, 'failed', call)
  })

  await t.test('a state that cannot be read brings the batch back, charged to nobody', async t => {
    sandbox.load(specOf('unlucky', `${head} exports.handler = async () => state.get('x')`))
    const end = await new Promise(resolve =>
      sandbox.run('unlucky', [itemOf(1, {})], {
        result() {},
        ended: resolve,
        log() {},
        readState: () => Promise.reject(new Error('the store is closed')),
      }),
    )
    t.same(end, { kind: 'returned' })
    t.equal(await callOnce(sandbox, 'unlucky', {}, new Map([['x', '7']])), 7)
  })
})
