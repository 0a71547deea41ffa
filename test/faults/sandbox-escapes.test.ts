/** D5: nothing of the host can be reached from a function, and tampering with built-ins hurts only the one who does it. */
import t from 'tap'
import { createSandbox } from '#sandbox/supervisor.ts'
import { callOnce, itemOf, runBatch, specOf } from '../fakes/sandbox-rig.ts'

/** Each gives what it could reach; all must give nothing. */
const walks: Readonly<Record<string, string>> = {
  'constructor of the context': `context.constructor.constructor('return typeof process.binding + typeof process.mainModule')()`,
  'constructor of the event': `event.constructor.constructor('return typeof process.binding')()`,
  'constructor of an error': `(() => { try { null.x } catch (e) { return e.constructor.constructor('return typeof process.binding')() } })()`,
  'constructor of a promise of the host': `state.get('a').constructor.constructor('return typeof process.binding')()`,
  'error of a host call': `(() => { try { new URL('::') } catch (e) { return /node:|file:|executor/.test(e.stack) ? 'host stack' : 'undefined' } })()`,
  'globals that boot uses': `[typeof ivm, typeof host, typeof memory, typeof boot, typeof Trampoline, typeof $0].find(x => x !== 'undefined') ?? 'undefined'`,
  'own keys of the global': `Reflect.ownKeys(globalThis).map(String).find(k => /ivm|host|guest|boot|\\$/i.test(k)) ?? 'undefined'`,
  'caller and arguments of the trampoline': `(() => { try { return typeof (function f() { return f.caller })()?.caller } catch { return 'undefined' } })()`,
  'private fields by name': `String(Object.getOwnPropertyNames(context).find(k => k.startsWith('#')))`,
  'stack objects': `(() => { let found = 'undefined'; Error.prepareStackTrace = (e, frames) => { for (const f of frames) { const fn = f.getFunction?.(); const self = f.getThis?.(); if (self !== undefined && self !== null && self !== globalThis && typeof self === 'object') found = 'this of ' + f.getFunctionName() } return 'x' }; new Error('x').stack; return found })()`,
  'module of fescue': `typeof require('fescue').publish.constructor('return this')().process.binding`,
}

t.test('walks to the host end nowhere', async t => {
  await using sandbox = createSandbox()
  const code = (expression: string) =>
    `const { publish, state } = require('fescue'); exports.handler = async (event, context) => [(${expression})].join()`
  for (const [name, expression] of Object.entries(walks)) {
    sandbox.load(specOf(name.replaceAll(' ', '-'), code(expression)))
    const { end, results } = await runBatch(sandbox, name.replaceAll(' ', '-'), [itemOf(1, { a: 1 })])
    const value = results.get(0)?.value
    t.ok(
      end.kind === 'failed' || /^"(undefined)*"$/.test(value ?? ''),
      `${name}: ${value ?? JSON.stringify(end)}`,
    )
  }
})

/** Code that runs at load; afterwards the trampoline must still do its work. */
const tampering: Readonly<Record<string, string>> = {
  'Array.prototype': `for (const k of Object.getOwnPropertyNames(Array.prototype)) if (k !== 'constructor') try { Array.prototype[k] = () => { throw 1 } } catch {}; Array.prototype[Symbol.iterator] = () => { throw 2 }; Object.defineProperty(Array.prototype, 0, { set() { throw 3 } })`,
  'Promise.prototype.then': `Promise.prototype.then = () => { throw 1 }; Promise.resolve = () => { throw 2 }; globalThis.Promise = class {}`,
  JSON: `JSON.parse = () => ({ evil: true }); JSON.stringify = () => '"evil"'; globalThis.JSON = undefined`,
  'Map and Set': `for (const k of Object.getOwnPropertyNames(Map.prototype)) if (k !== 'size') Map.prototype[k] = () => { throw 1 }; Object.defineProperty(Map.prototype, 'size', { get() { throw 1 } }); globalThis.Map = undefined`,
  'String and RegExp': `for (const k of Object.getOwnPropertyNames(String.prototype)) if (k !== 'length') String.prototype[k] = () => { throw 1 }; RegExp.prototype.exec = () => null; RegExp.prototype.test = () => true; globalThis.String = () => 'evil'`,
  'Function.prototype': `Function.prototype.call = () => { throw 1 }; Function.prototype.apply = () => { throw 1 }; Function.prototype.bind = () => { throw 1 }; Reflect.apply = () => { throw 1 }`,
  'Object.prototype': `Object.defineProperty(Object.prototype, 'then', { get() { return undefined } }); Object.prototype.toJSON = undefined; Object.prototype.get = 1; Object.prototype.value = 2; Object.keys = () => ['evil']; Object.create = () => { throw 1 }`,
  'typed arrays': `for (const T of [Uint8Array, Int32Array, Float64Array]) { T.prototype.set = () => { throw 1 }; globalThis[T.name] = undefined }; ArrayBuffer.prototype.slice = () => { throw 1 }; globalThis.ArrayBuffer = undefined`,
  'Date and Math': `Date.now = () => 5; globalThis.Date = undefined; Math.floor = () => { throw 1 }; Math.random = undefined`,
  Error: `Error.isError = () => { throw 1 }; globalThis.Error = undefined; globalThis.TypeError = undefined; Error = undefined`,
  'Symbol.species': `Object.defineProperty(Promise, Symbol.species, { get() { throw 1 } }); Object.defineProperty(Promise.prototype, 'constructor', { value: undefined })`,
}

t.test('a function that replaces built-ins breaks nothing but itself', async t => {
  await using sandbox = createSandbox()
  sandbox.load(specOf('neighbour', `exports.handler = async event => event.n`))
  for (const [name, code] of Object.entries(tampering)) {
    const id = name.replaceAll(/\W/g, '_')
    sandbox.load(
      specOf(
        id,
        `const { publish, state } = require('fescue'); ${code};\nexports.handler = async e => { await state.set('k', 'v'); publish('out/x', 'p'); publish('out/y', 'q'); if (e.bad) throw { e }; return e.n }`,
      ),
    )
    const { end, results } = await runBatch(sandbox, id, [
      itemOf(1, { n: 1 }),
      itemOf(2, { n: 2 }),
      itemOf(3, { bad: 1 }),
      itemOf(4, {}),
    ])
    t.equal(end.kind, 'failed', name)
    t.equal(end.kind === 'failed' && end.index, 2, name)
    t.same(
      [...results.values()].map(result => result.value),
      ['1', '2'],
      name,
    )
    t.same(
      results.get(1)?.effects.map(effect => effect.type),
      ['set', 'publish', 'publish'],
      name,
    )
    t.equal(await callOnce(sandbox, 'neighbour', { n: 7 }), 7)
  }
})

t.test('credits hold although Array, Map and Date were replaced', async t => {
  await using sandbox = createSandbox()
  const before = `Array.prototype.push = () => 0; Map.prototype.set = function () { return this }; Object.defineProperty(Map.prototype, 'size', { get: () => 0 });`
  const flood = (name: string, body: string) => {
    sandbox.load(
      specOf(
        name,
        `const { publish, state } = require('fescue'); ${before} exports.handler = async () => { ${body} }`,
        { timeoutMs: 500 },
      ),
    )
    return runBatch(sandbox, name, [itemOf(1, {})])
  }
  t.match((await flood('p', `for (;;) publish('out/x', 1)`)).end, { error: { errorMessage: /1000 effects/ } })
  t.match((await flood('t', 'for (;;) setTimeout(() => {}, 9)')).end, {
    error: { errorMessage: /1000 timers/ },
  })
  t.match(
    (
      await flood(
        's',
        `for (let i = 0; ; i++) state.get('k' + i).then(() => {}, e => { globalThis.e = e }), globalThis.e && (() => { throw globalThis.e })(), i % 100 === 0 && await 0`,
      )
    ).end,
    { error: { errorMessage: /64 host calls/ } },
  )
})
