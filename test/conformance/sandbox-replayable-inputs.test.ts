/** D8: the clock moves only at recorded events, randomness is seeded, and what would break a replay is out of reach. */
import t from 'tap'
import { randomBlock } from '#sandbox/executor/bridge.ts'
import { createSandbox } from '#sandbox/supervisor.ts'
import { callOnce, itemOf, runBatch, specOf } from '../fakes/sandbox-rig.ts'

const busy = `const spin = () => { for (let i = 0; i < 2e7; i++); };`

t.test('D8: the clock', async t => {
  await using sandbox = createSandbox()
  const call = async (name: string, body: string, more = {}) => {
    sandbox.load(
      specOf(
        name,
        `const { state } = require('fescue'); ${busy} exports.handler = async (event, context) => { ${body} }`,
        more,
      ),
    )
    const { results, end } = await runBatch(sandbox, name, [itemOf(1, {})])
    t.equal(end.kind, 'done', JSON.stringify(end))
    return { value: JSON.parse(results.get(0)?.value ?? ''), startedAt: results.get(0)?.startedAt ?? 0 }
  }

  await t.test('stands still while the handler computes, in every reader', async t => {
    const { value, startedAt } = await call(
      'still',
      `const read = () => [Date.now(), new Date().getTime(), +new Date(), new (new Date().constructor)().getTime(),
        new Date.prototype.constructor().getTime(), new (class extends Date {})().getTime(), Reflect.construct(Date, []).getTime(),
        Math.round(performance.timeOrigin + performance.now()), Date.parse(Date()) + Date.now() % 1000, Date.parse(new Intl.DateTimeFormat('en-US', { dateStyle: 'short', timeStyle: 'medium' }).format()) + Date.now() % 1000,
        Number(new Intl.DateTimeFormat('en', { fractionalSecondDigits: 3 }).formatToParts().find(p => p.type === 'fractionalSecond').value) - Date.now() % 1000 + Date.now(), context.getRemainingTimeInMillis() - 2000 + Date.now()]
       const before = read(); spin(); return [before, read()]`,
    )
    t.same(value[1], value[0])
    t.same(value[0], Array(12).fill(startedAt))
  })

  await t.test('moves when a timer fires and when a host call returns', async t => {
    const { value } = await call(
      'moves',
      `const at = [Date.now()]; await new Promise(r => setTimeout(r, 30)); at.push(Date.now()); spin(); at.push(Date.now())
       await state.get('x'); at.push(Date.now()); await Promise.resolve(); at.push(Date.now()); return [at, context.getRemainingTimeInMillis()]`,
    )
    const [at, left] = value
    t.ok(at[1] - at[0] >= 30, 'by the timer’s delay')
    t.equal(at[2], at[1])
    t.ok(at[3] > at[2], 'a host call shows the time that the loop before it took')
    t.equal(at[4], at[3])
    t.equal(left, 2000 - (at[3] - at[0]))
  })

  await t.test('dates with arguments, parsing and texts work as they do', async t => {
    const { value } = await call(
      'dates',
      `return [new Date(0).toISOString(), new Date('2026-01-02T03:04:05Z').getTime(), Date.UTC(2026, 0), Date.parse('1970-01-01T00:00:01Z'),
        new Date(2026, 0, 2, 3).toISOString(), new Date() instanceof Date, typeof Date(), Date.name, Date.length,
        Number.isNaN(new Date(undefined).getTime()), structuredClone(new Date(5)).getTime(), new Date(0).getTimezoneOffset()]`,
    )
    t.same(value, [
      '1970-01-01T00:00:00.000Z',
      1767323045000,
      1767225600000,
      1000,
      '2026-01-02T03:00:00.000Z',
      true,
      'string',
      'Date',
      7,
      true,
      5,
      0,
    ])
  })

  await t.test('the time zone is the manifest’s', async t => {
    const body = `const d = new Date(1767225600000); return [d.getHours(), d.getTimezoneOffset(), Intl.DateTimeFormat().resolvedOptions().timeZone, d.toLocaleTimeString('en-GB')]`
    t.same((await call('utc', body)).value, [0, 0, 'UTC', '00:00:00'])
    t.same((await call('kolkata', body, { timeZone: 'Asia/Kolkata' })).value, [
      5,
      -330,
      'Asia/Calcutta',
      '05:30:00',
    ])
    const pids = new Set(sandbox.stats().map(each => each.executorPid))
    t.equal(pids.size, 2, 'each zone has its executor')
  })
})

t.test('D8: randomness', async t => {
  await using sandbox = createSandbox()
  const code = `exports.handler = async () => [Math.random(), Math.random(), crypto.randomUUID(), ...crypto.getRandomValues(new Uint16Array(600)).slice(0, 4), crypto.getRandomValues(new Uint8Array(3)).length, Math.random()]`
  const other = { seedKey: '11'.repeat(32) }
  sandbox.load(specOf('a', code))
  sandbox.load(specOf('b', code, other))
  const first = await runBatch(sandbox, 'a', [itemOf(1, {}), itemOf(2, {})])
  const again = await runBatch(sandbox, 'a', [itemOf(2, {}), itemOf(1, {})])
  t.equal(first.results.get(0)?.value, again.results.get(1)?.value, 'equal for the same invocation')
  t.not(first.results.get(0)?.value, first.results.get(1)?.value, 'different for another')
  const elsewhere = await runBatch(sandbox, 'b', [itemOf(1, {})])
  t.not(first.results.get(0)?.value, elsewhere.results.get(0)?.value, 'and under another key')
  const [a, b, uuid] = JSON.parse(first.results.get(0)?.value ?? '[]')
  t.ok(a >= 0 && a < 1 && b >= 0 && b < 1 && a !== b)
  t.match(uuid, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  const block = randomBlock('5e'.repeat(32), itemOf(1, {}).invocationId, 0)
  const number = ((block.readUInt32LE(0) >>> 5) * 67_108_864 + (block.readUInt32LE(4) >>> 6)) / 2 ** 53
  t.equal(a, number, 'the stream is the executor’s, from key and invocation id')
  t.not(block.toString('hex'), randomBlock('5e'.repeat(32), itemOf(1, {}).invocationId, 1).toString('hex'))
})

t.test('D8: Math.random is spread evenly', async t => {
  await using sandbox = createSandbox()
  sandbox.load(
    specOf(
      'spread',
      `exports.handler = async () => { const n = Array(10).fill(0); for (let i = 0; i < 20000; i++) n[Math.floor(Math.random() * 10)]++; return n }`,
    ),
  )
  for (const count of (await callOnce(sandbox, 'spread', {})) as number[])
    t.ok(count > 1800 && count < 2200, `${count}`)
})

t.test('D8: what a replay could not repeat is there only when asked for', async t => {
  await using sandbox = createSandbox()
  const code = `exports.handler = async () => [typeof WebAssembly, typeof SharedArrayBuffer, typeof Atomics, typeof WeakRef, typeof FinalizationRegistry]`
  sandbox.load(specOf('plain', code))
  sandbox.load(specOf('asks', code, { allow: ['wasm', 'sharedMemory', 'weakRefs'] }))
  t.same(await callOnce(sandbox, 'plain', {}), Array(5).fill('undefined'))
  t.same(await callOnce(sandbox, 'asks', {}), ['object', 'function', 'object', 'function', 'function'])
})
