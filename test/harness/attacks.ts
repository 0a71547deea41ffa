/**
 * What functions do that mean harm, or were written in a hurry: each with how the sandbox may end it, and what its
 * error must say. `test/faults/hostile-functions.test.ts` runs them in a sandbox, `hostile-daemon.test.ts` in the daemon.
 */
import type { BatchEnd } from '#sandbox/sandbox.ts'

export type Outcome = BatchEnd['kind']

export interface Attack {
  readonly name: string
  /** Body of the handler. */
  readonly body: string
  /** Code before the handler. */
  readonly before?: string
  readonly outcomes: readonly Outcome[]
  /** What the error must say, where there is one. */
  readonly says?: RegExp
  /** It harms later messages of the same function too, for as long as its context lives. */
  readonly spoils?: boolean
}

/** A module that cannot be loaded: its messages wait until it is mended. */
export interface BadModule {
  readonly name: string
  readonly source: string
  /** What the function's last error must say. */
  readonly says: RegExp
}

const ended = (kind: Outcome, ...more: Outcome[]) => [kind, ...more]

export const attacks: readonly Attack[] = [
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
    outcomes: ended('killed', 'failed', 'timeout'),
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
  {
    name: 'cannot import',
    body: `await import(['fs'][0])`,
    outcomes: ended('failed'),
    says: /Not supported/,
  },
  {
    name: 'cannot require',
    body: `require(['fs'][0])`,
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
  { name: 'throws null', body: 'throw null', outcomes: ended('failed'), says: /^object: null$/ },
  {
    name: 'throws a symbol',
    body: `throw Symbol('s')`,
    outcomes: ended('failed'),
    says: /^symbol: Symbol\(s\)$/,
  },
  { name: 'throws a function', body: 'throw () => 1', outcomes: ended('failed'), says: /^function: / },
  {
    name: 'throws a proxy that throws',
    body: 'throw new Proxy({}, { get() { throw 1 }, getPrototypeOf() { throw 2 }, has() { throw 3 } })',
    outcomes: ended('failed'),
    says: /cannot be shown/,
  },
  {
    name: 'throws a proxy that is revoked',
    body: 'const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); throw proxy',
    outcomes: ended('failed'),
    says: /cannot be shown/,
  },
  {
    name: 'an error is huge in all its parts',
    body: `const e = new Error('x'); for (const k of ['name', 'message', 'stack']) Object.defineProperty(e, k, { get: () => 'h'.repeat(2 ** 26) }); throw e`,
    outcomes: ended('failed', 'timeout'),
  },
  {
    name: 'a string of 256 MiB is searched',
    body: `return 'x'.repeat(2 ** 28).split('').indexOf('y')`,
    outcomes: ended('failed', 'timeout', 'killed'),
  },
  {
    name: 'a builtin walks a huge length backwards',
    body: 'Array.prototype.reverse.call({ length: 2 ** 53 - 1 })',
    outcomes: ended('timeout'),
  },
  {
    name: 'a regular expression explodes in replaceAll',
    body: `return 'x'.repeat(60).replaceAll(/(x+x+)+y/g, '')`,
    outcomes: ended('timeout'),
  },
  {
    name: 'toJSON throws',
    body: `return { toJSON() { throw new Error('no JSON') } }`,
    outcomes: ended('failed'),
    says: /Runtime.MarshalError: .*no JSON/,
  },
  {
    name: 'toJSON gives a huge text',
    body: `return { toJSON: () => 'x'.repeat(2 ** 24) }`,
    outcomes: ended('failed'),
    says: /ResponseSizeTooLarge/,
  },
  {
    name: 'a getter of the result throws',
    body: 'return { get a() { throw new TypeError("read me not") } }',
    outcomes: ended('failed'),
    says: /Runtime.MarshalError: .*read me not/,
  },
  {
    name: 'returns a proxy that loops',
    body: 'return new Proxy({}, { ownKeys() { for (;;); } })',
    outcomes: ended('timeout'),
  },
  {
    name: 'returns a proxy with endless keys',
    body: 'return new Proxy([], { get: (_, key) => (key === "length" ? 2 ** 32 - 1 : null) })',
    outcomes: ended('timeout', 'failed', 'killed'),
  },
  {
    name: 'returns what is deep',
    body: 'let deep = []; for (let i = 0; i < 1e5; i++) deep = [deep]; return deep',
    outcomes: ended('failed', 'done'),
  },
  { name: 'returns a symbol', body: 'return Symbol("s")', outcomes: ended('done') },
  { name: 'returns a function', body: 'return () => 1', outcomes: ended('done') },
  {
    name: 'strings without end',
    body: `let s = 'x'; for (;;) s += s + s`,
    outcomes: ended('failed', 'timeout', 'killed'),
  },
  {
    name: 'allocates in microtasks',
    body: 'const all = []; for (;;) { await 0; all.push(new Array(10_000).fill({})) }',
    outcomes: ended('failed', 'timeout', 'killed'),
  },
  {
    name: 'floods promises',
    body: 'const all = []; for (;;) all.push(Promise.resolve().then(() => all.length))',
    outcomes: ended('failed', 'timeout', 'killed'),
  },
  {
    name: 'floods the log',
    body: `for (;;) console.log('x'.repeat(10_000))`,
    outcomes: ended('timeout'),
  },
  {
    name: 'logs a proxy that loops',
    body: 'console.log(new Proxy({}, { get() { for (;;); }, ownKeys() { for (;;); } }))',
    outcomes: ended('timeout', 'done'),
  },
  {
    name: 'a state value is too large',
    body: `await state.set('big', 'x'.repeat(2 ** 22))`,
    outcomes: ended('failed'),
    says: /bytes/,
  },
  {
    name: 'a state key is too long',
    body: `await state.set('k'.repeat(100_000), 1)`,
    outcomes: ended('failed'),
    says: /key/,
  },
  {
    name: 'a state value has no JSON',
    body: `const a = {}; a.a = a; await state.set('cycle', a)`,
    outcomes: ended('failed'),
    says: /circular|JSON/,
  },
  {
    name: 'publishes where it may not',
    body: `publish('elsewhere', 'x')`,
    outcomes: ended('failed'),
    says: /permissions/,
  },
  {
    name: 'publishes to a wildcard',
    body: `publish('out/#', 'x')`,
    outcomes: ended('failed'),
    says: /topic|wildcard/i,
  },
  {
    name: 'replaces then',
    body: 'Promise.prototype.then = () => { for (;;); }; Object.prototype.then = undefined; return 1',
    outcomes: ended('done', 'failed', 'timeout'),
    spoils: true,
  },
  {
    name: 'everything is thenable',
    body: 'Object.prototype.then = function (ok) { for (;;); }; return { a: 1 }',
    outcomes: ended('done', 'failed', 'timeout'),
    spoils: true,
  },
  {
    name: 'setters on the prototype of all arrays and objects',
    body: `for (let i = 0; i < 100; i++) for (const p of [Array.prototype, Object.prototype]) Object.defineProperty(p, i, { set() { for (;;); }, get() { throw 1 } }); return 1`,
    outcomes: ended('done', 'failed', 'timeout'),
    spoils: true,
  },
  {
    name: 'replaces JSON, Date, Map, String and Reflect',
    body: `const loop = () => { for (;;); }; JSON.stringify = JSON.parse = loop; Date.now = loop; for (const k of ['get', 'set', 'has', 'delete', 'forEach']) Map.prototype[k] = loop; String.prototype.slice = String.prototype.charCodeAt = loop; Reflect.apply = loop; Function.prototype.call = Function.prototype.apply = loop; return 1`,
    outcomes: ended('done', 'failed', 'timeout'),
    spoils: true,
  },
  {
    name: 'deletes every global',
    body: 'for (const key of Reflect.ownKeys(globalThis)) { try { delete globalThis[key] } catch {} } return 1',
    outcomes: ended('done', 'failed', 'timeout'),
    spoils: true,
  },
  {
    name: 'replaces every global by a trap',
    body: 'const trap = new Proxy(function () {}, { get() { for (;;); }, apply() { for (;;); }, construct() { for (;;); } }); for (const key of Reflect.ownKeys(globalThis)) { try { globalThis[key] = trap } catch {} } return 1',
    outcomes: ended('done', 'failed', 'timeout', 'killed'),
    spoils: true,
  },
  {
    name: 'the species of its promise loops',
    body: 'const p = Promise.resolve(1); p.constructor = { get [Symbol.species]() { for (;;); } }; return p',
    outcomes: ended('done', 'failed', 'timeout'),
  },
  {
    name: 'leaves an endless loop of microtasks behind',
    body: 'void (async () => { for (;;) await 0 })(); return 1',
    outcomes: ended('done', 'timeout', 'failed', 'returned'),
  },
  {
    name: 'leaves a loop behind',
    body: 'void Promise.resolve().then(() => { for (;;); }); return 1',
    outcomes: ended('done', 'timeout', 'failed', 'returned'),
  },
  {
    name: 'leaves a timer behind that publishes',
    body: `setTimeout(() => publish('out/late', 'x'), 1); return 1`,
    outcomes: ended('done'),
  },
  {
    name: 'leaves a promise behind that publishes',
    body: `void (async () => { for (let i = 0; i < 200; i++) await 0; publish('out/late', 'x') })(); return 1`,
    outcomes: ended('done', 'failed', 'returned'),
  },
]

export const badModules: readonly BadModule[] = [
  { name: 'throws', source: `throw new RangeError('at load')`, says: /RangeError: at load/ },
  { name: 'throws nothing', source: 'throw undefined', says: /undefined/ },
  { name: 'loops', source: 'for (;;);', says: /Timedout/ },
  {
    name: 'loops over microtasks',
    source: 'exports.handler = () => 1; (async () => { for (;;) await 0 })()',
    says: /Timedout/,
  },
  { name: 'exits', source: 'process.exit(3)', says: /process.exit|ExitError/ },
  { name: 'exports nothing', source: 'exports.other = 1', says: /Runtime.HandlerNotFound: .*not exported/ },
  {
    name: 'exports a getter that throws',
    source: `Object.defineProperty(exports, 'handler', { get() { throw new Error('no handler') } })`,
    says: /no handler/,
  },
  {
    name: 'requires what is not there',
    source: `const fs = require(['fs'][0])`,
    says: /Runtime.ImportModuleError: Cannot find module 'fs'/,
  },
  {
    name: 'allocates without end',
    source: 'const all = []; for (;;) all.push(new Array(1000).fill({ x: 1 }))',
    says: /Timedout|ExitError|memory/,
  },
  {
    name: 'rejects',
    source: `exports.handler = () => 1; Promise.reject(new Error('nobody cares'))`,
    says: /nobody cares/,
  },
]
