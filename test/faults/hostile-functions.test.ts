/**
 * Functions that attack the sandbox: each gets a clear outcome within its deadline, and its neighbour in the same
 * executor works on (D5, D6).
 */
import t from 'tap'
import type { BatchEnd } from '#sandbox/sandbox.ts'
import { createSandbox } from '#sandbox/supervisor.ts'
import { itemOf, runBatch, specOf } from '../fakes/sandbox-rig.ts'

const timeoutMs = 300
/** Deadline, grace, and slack for a busy box: starting an executor and two looks at its clock. */
const boundMs = timeoutMs + 250 + 2500

type Outcome = BatchEnd['kind']

interface Attack {
  readonly name: string
  /** Body of the handler. */
  readonly body: string
  /** Code before the handler. */
  readonly before?: string
  readonly outcomes: readonly Outcome[]
  /** What the error must say, where there is one. */
  readonly says?: RegExp
  readonly allow?: readonly string[]
}

const ended = (kind: Outcome, ...more: Outcome[]) => [kind, ...more]

const attacks: readonly Attack[] = [
  { name: 'throws', body: `throw new RangeError('no')`, outcomes: ended('failed'), says: /^RangeError: no$/ },
  {
    name: 'throws nothing',
    body: 'throw undefined',
    outcomes: ended('failed'),
    says: /^undefined: undefined$/,
  },
  { name: 'loops', body: 'for (;;);', outcomes: ended('timeout'), says: /Task timed out after 0.30 seconds/ },
  { name: 'loops over microtasks', body: 'for (;;) await 0', outcomes: ended('timeout') },
  {
    name: 'awaits what never settles',
    body: 'await new Promise(() => {})',
    outcomes: ended('failed'),
    says: /NodeJsExit/,
  },
  {
    name: 'never calls back while a timer runs',
    body: 'setInterval(() => {}, 5); await new Promise(() => {})',
    outcomes: ended('timeout'),
  },
  {
    name: 'a regular expression explodes',
    body: `/(a+)+$/.test('a'.repeat(40) + 'b')`,
    outcomes: ended('timeout'),
  },
  {
    name: 'a builtin loops',
    body: 'Array.prototype.indexOf.call({ length: 2 ** 53 - 1 }, 1)',
    outcomes: ended('timeout'),
  },
  {
    name: 'an error getter loops',
    body: 'throw Object.defineProperty(new Error("x"), "message", { get() { for (;;); } })',
    outcomes: ended('timeout'),
  },
  {
    name: 'an error getter throws',
    body: 'throw { get name() { throw 1 }, toString() { throw 2 } }',
    outcomes: ended('failed'),
    says: /cannot be shown/,
  },
  {
    name: 'throws a proxy that loops',
    body: 'throw new Proxy({}, { get() { for (;;); }, getPrototypeOf() { for (;;); } })',
    outcomes: ended('timeout'),
  },
  {
    name: 'prepareStackTrace loops',
    body: 'Error.prepareStackTrace = () => { for (;;); }; throw new Error("x")',
    outcomes: ended('timeout'),
  },
  {
    name: 'throws an endless message',
    body: `throw new Error('m'.repeat(2 ** 24))`,
    outcomes: ended('failed'),
    says: /^.{2000,2100}$/,
  },
  { name: 'toJSON loops', body: 'return { toJSON() { for (;;); } }', outcomes: ended('timeout') },
  {
    name: 'returns a cycle',
    body: 'const a = {}; a.a = a; return a',
    outcomes: ended('failed'),
    says: /Unable to stringify response body/,
  },
  { name: 'returns a BigInt', body: 'return 1n', outcomes: ended('failed'), says: /Unable to stringify/ },
  {
    name: 'returns too much',
    body: `return 'x'.repeat(300000)`,
    outcomes: ended('failed'),
    says: /ResponseSizeTooLarge/,
  },
  { name: 'a thenable never settles', body: 'return { then() {} }', outcomes: ended('failed', 'timeout') },
  {
    name: 'rejects and nobody handles it',
    body: `Promise.reject(new TypeError('forgotten'))`,
    outcomes: ended('failed'),
    says: /UnhandledPromiseRejection: TypeError: forgotten/,
  },
  {
    name: 'rejects with a getter that loops',
    body: 'Promise.reject({ get message() { for (;;); }, get stack() { for (;;); } })',
    outcomes: ended('failed', 'timeout', 'killed'),
  },
  {
    name: 'rejects with an error whose getter loops',
    body: 'Promise.reject(Object.defineProperty(new Error("x"), "stack", { get() { for (;;); } }))',
    outcomes: ended('failed', 'timeout'),
  },
  {
    name: 'arrays without end',
    body: 'const all = []; for (;;) all.push(new Array(1000).fill({ x: 1 }))',
    outcomes: ended('failed', 'timeout', 'killed'),
  },
  {
    name: 'a map without end',
    body: 'const map = new Map(); for (let i = 0; ; i++) map.set(i, i)',
    outcomes: ended('killed', 'failed', 'timeout'),
  },
  {
    name: 'strings that abort the process',
    body: '"x".repeat(2 ** 29 - 25).split("")',
    outcomes: ended('killed', 'failed'),
  },
  {
    name: 'BigInt without end',
    body: 'let b = 2n; for (;;) b = b * b',
    outcomes: ended('timeout', 'failed', 'killed'),
  },
  {
    name: 'array buffers without end',
    body: 'const all = []; for (;;) all.push(new ArrayBuffer(1 << 20))',
    outcomes: ended('failed', 'killed', 'timeout'),
  },
  {
    name: 'a resizable array buffer grows',
    body: 'const all = []; for (let i = 0; i < 64; i++) { const b = new ArrayBuffer(0, { maxByteLength: 1 << 25 }); b.resize(1 << 25); new Uint8Array(b).fill(1); all.push(b) }',
    outcomes: ended('failed', 'killed', 'timeout'),
  },
  {
    name: 'floods timers',
    body: 'for (;;) setTimeout(() => {}, 1000)',
    outcomes: ended('failed'),
    says: /more than 1000 timers/,
  },
  {
    name: 'sets and clears timers for ever',
    body: 'for (;;) clearTimeout(setTimeout(() => {}, 1000))',
    outcomes: ended('timeout'),
  },
  {
    name: 'floods publish',
    body: `for (;;) publish('out/x', 'y')`,
    outcomes: ended('failed'),
    says: /at most 1000 effects/,
  },
  {
    name: 'floods publish with bytes',
    body: `for (;;) publish('out/x', new Uint8Array(200000))`,
    outcomes: ended('failed'),
    says: /at most 1048576 bytes/,
  },
  {
    name: 'floods state',
    body: `for (let i = 0; ; i++) await state.set('k' + i, 'v')`,
    outcomes: ended('failed'),
    says: /at most 1000 effects/,
  },
  {
    name: 'floods host calls',
    body: 'const all = []; for (let i = 0; i < 1000; i++) all.push(state.get("k" + i)); await Promise.all(all)',
    outcomes: ended('failed'),
    says: /more than 64 host calls/,
  },
  { name: 'floods sync host calls', body: 'for (;;) new URL("http://a/")', outcomes: ended('timeout') },
  { name: 'cannot import', body: `await import('fs')`, outcomes: ended('failed'), says: /Not supported/ },
  {
    name: 'cannot require',
    body: `require('fs')`,
    outcomes: ended('failed'),
    says: /Cannot find module 'fs'/,
  },
  {
    name: 'exits',
    body: 'process.exit(3)',
    outcomes: ended('failed'),
    says: /Runtime.ExitError: .*exit status 3/,
  },
  { name: 'loads for ever when it runs', body: 'new Function("for (;;);")()', outcomes: ended('timeout') },
  {
    name: 'shared memory and WebAssembly are absent',
    body: 'return [typeof WebAssembly, typeof SharedArrayBuffer, typeof Atomics, typeof WeakRef, typeof FinalizationRegistry].join()',
    outcomes: ended('done'),
  },
]

const textOf = (end: BatchEnd): string =>
  'error' in end ? `${end.error.errorType}: ${end.error.errorMessage}` : end.kind

function codeOf(attack: Attack): string {
  return `const { publish, state } = require('fescue'); ${attack.before ?? ''}
    exports.handler = async event => { if (event.attack) { ${attack.body} } else return 'fine' }`
}

t.test('every attack has its outcome, and the neighbour works on', async t => {
  await using sandbox = createSandbox()
  sandbox.load(specOf('neighbour', `exports.handler = async event => event.n * 2`))
  const neighbourPid = () => sandbox.stats().find(each => each.name === 'neighbour')?.executorPid
  for (const [n, attack] of attacks.entries()) {
    await t.test(attack.name, async t => {
      const name = `hostile-${n}`
      sandbox.load(specOf(name, codeOf(attack), { timeoutMs }))
      t.equal((await runBatch(sandbox, 'neighbour', [itemOf(1, { n: 1 })])).end.kind, 'done')
      const pid = neighbourPid()
      const items = [itemOf(1, { attack: false }), itemOf(2, { attack: true }), itemOf(3, { attack: false })]

      const { end, results, elapsedMs } = await runBatch(sandbox, name, items)
      t.comment(`${textOf(end).slice(0, 160)} after ${Math.round(elapsedMs)} ms`)
      t.ok(attack.outcomes.includes(end.kind), `ends as ${attack.outcomes.join(' or ')}: ${end.kind}`)
      if (attack.says !== undefined) t.match(textOf(end), attack.says)
      t.ok(elapsedMs < boundMs, `within ${boundMs} ms: ${Math.round(elapsedMs)}`)
      if (end.kind === 'failed' || end.kind === 'timeout') {
        t.equal(end.index, 1, 'the attack is charged')
        t.equal(results.get(0)?.value, '"fine"', 'what finished before it counts')
      }

      const after = await runBatch(sandbox, 'neighbour', [itemOf(2, { n: 21 })])
      t.equal(after.results.get(0)?.value, '42', 'the neighbour works')
      if (neighbourPid() !== pid && pid !== undefined)
        t.throws(() => process.kill(pid, 0), 'the executor that was replaced is gone')
      sandbox.unload(name)
    })
  }
})
