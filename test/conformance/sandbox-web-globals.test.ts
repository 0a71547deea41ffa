/** What a function finds beside ECMAScript, held against Node’s own where Node has it. */
import t from 'tap'
import { createSandbox } from '#sandbox/supervisor.ts'
import { callOnce, itemOf, runBatch, specOf } from '../fakes/sandbox-rig.ts'

/** Expressions whose value must be what Node gives. */
const expressions: readonly string[] = [
  `new URL('HTTP://User:pä@Exämple.com:80/a/../b?x=1&y=%20+z&x=2#h').href`,
  `new URL('../c?d#e', 'https://a.b/x/y/z').toString()`,
  `(u => { u.pathname = '/ä b'; u.search = 'q=1'; u.hash = 'x'; u.port = '8080'; u.hostname = 'h.i'; u.protocol = 'https:'; u.username = 'me'; return [u.href, u.origin, u.host, u.username] })(new URL('http://a/b'))`,
  `(u => { u.searchParams.append('a b', 'c&d'); u.searchParams.set('x', '9'); u.searchParams.delete('y'); return [u.href, u.searchParams.get('a b'), [...u.searchParams.keys()]] })(new URL('http://a/?x=1&y=2&x=3'))`,
  `JSON.stringify({ u: new URL('http://a') })`,
  `[URL.canParse('nope'), URL.canParse('/x', 'http://a'), URL.parse('nope'), URL.parse('http://q').href]`,
  `(() => { try { new URL('nope') } catch (e) { return [e.name, e.code] } })()`,
  `new URLSearchParams('?a=1&a=2&b=%E2%82%AC&c=%zz&d').toString()`,
  `(p => { p.sort(); return [p.toString(), p.getAll('b'), p.has('a', '1'), p.size] })(new URLSearchParams({ b: '2', a: "1!'()*~" }))`,
  `[...new URLSearchParams([['x', 'y'], ['x', 'ü']])]`,
  `[...new TextEncoder().encode('aü€😀\\ud800')]`,
  `(b => [new TextEncoder().encodeInto('aü€', b), ...b])(new Uint8Array(5))`,
  `new TextDecoder().decode(new Uint8Array([0xef, 0xbb, 0xbf, 97, 0xc3, 0xbc, 0xff, 0xe2, 0x82, 0xf0, 0x9f, 0x98, 0x80]))`,
  `(d => d.decode(new Uint8Array([0xe2, 0x82]), { stream: true }) + '|' + d.decode(new Uint8Array([0xac, 98])))(new TextDecoder())`,
  `(() => { try { new TextDecoder('utf-8', { fatal: true }).decode(new Uint8Array([255])) } catch (e) { return e.name } })()`,
  `new TextDecoder('utf-16le').decode(new Uint8Array([97, 0, 172, 32]))`,
  `[btoa('a\\xff\\x00bc'), btoa(''), btoa('ab'), atob('YWJj'), atob(' YW Jj '), atob('YQ==')]`,
  `(() => { try { atob('a') } catch { return 'refused' } })()`,
  `(a => { const b = structuredClone(a); return [b.self === b, b.map.get('k'), [...b.set], b.date.getTime(), b.re.source, [...b.bytes], b.bytes.buffer.byteLength, b.err.message, b.err instanceof TypeError, 'x' in b, b.list.length] })((() => { const a = { map: new Map([['k', { v: 1 }]]), set: new Set([1]), date: new Date(5), re: /a+/gi, bytes: new Uint8Array([1, 2, 3]).subarray(1), err: new TypeError('t'), x: undefined, list: [1, , 3] }; a.self = a; return a })())`,
  `(() => { try { structuredClone(() => 1) } catch (e) { return e.name } })()`,
  `[Buffer.from('hé').toString('hex'), Buffer.concat([Buffer.from([1]), Buffer.alloc(2, 3)]).readUInt16BE(0), Buffer.byteLength('€'), Buffer.from('aGk=', 'base64').toString(), Buffer.isBuffer(Buffer.alloc(1)), Buffer.from([1,2]).equals(Buffer.from([1,2]))]`,
  `(() => { const log = []; const t = new EventTarget(); t.addEventListener('a', e => log.push([e.type, e.target === t]), { once: true }); t.dispatchEvent(new Event('a')); t.dispatchEvent(new Event('a')); return log })()`,
  `(() => { const c = new AbortController(); const log = []; c.signal.addEventListener('abort', () => log.push('heard')); c.abort(); c.abort(); try { c.signal.throwIfAborted() } catch (e) { log.push(e.name) } return [log, c.signal.aborted, c.signal.reason.name] })()`,
  `[AbortSignal.abort('why').reason, AbortSignal.any([AbortSignal.abort('x')]).reason, AbortSignal.any([new AbortController().signal]).aborted]`,
  `new Promise(r => AbortSignal.timeout(5).addEventListener('abort', e => r(e.target.reason.name)))`,
  `new Promise(r => { const log = []; setTimeout(() => { log.push('timeout'); r(log) }, 5); setImmediate(() => log.push('immediate')); queueMicrotask(() => log.push('micro')); process.nextTick(a => log.push(a), 'tick'); log.push('sync') }).then(l => [l[0], l.slice(1, 3).sort(), l.slice(3)])`,
  `new Promise(r => { let n = 0; const i = setInterval((a, b) => { n += a + b; if (n > 8) { clearInterval(i); r(n) } }, 1, 1, 2) })`,
  `new Promise(r => { const x = setTimeout(() => r('bad'), 1); clearTimeout(x); setTimeout(r, 10, 'good') })`,
  `[typeof global, global === globalThis]`,
  `(() => { globalThis.URL = 5; return URL })()`,
]

t.test('web APIs give what Node gives', async t => {
  await using sandbox = createSandbox()
  const code = `exports.handler = async event => eval(event)`
  sandbox.load(specOf('web', code))
  for (const expression of expressions) {
    const got = await callOnce(sandbox, 'web', expression)
    const saved = globalThis.URL
    const wanted = await new Function(`return (async () => (${expression}))()`)()
    globalThis.URL = saved
    t.same(got, JSON.parse(JSON.stringify(wanted) ?? 'null'), expression)
  }
})

t.test('console formats as Node does and keeps to its bounds', async t => {
  await using sandbox = createSandbox()
  const lines: readonly [string, string][] = [
    [`'a', 1, true, null, undefined`, 'a 1 true null undefined'],
    [`'%s is %d%% of %i', 'x', 1.5, 7.9`, 'x is 1.5% of 7'],
    [`'%j %o', { a: 1 }, [1, 'b']`, `{"a":1} [ 1, 'b' ]`],
    [`{ a: { b: { c: { d: 1 } } } }`, '{ a: { b: { c: [Object] } } }'],
    [
      `[1, 'two', [3]], new Set([1]), Symbol('s'), 5n, () => 1`,
      `[1, 'two', [3]] Set(1) { 1 } Symbol(s) 5n [Function: (anonymous)]`,
    ],
    [
      `new (class Point { x = 1 })(), new Uint8Array(2), new Date(0)`,
      'Point { x: 1 } Uint8Array(2) [0, 0] 1970-01-01T00:00:00.000Z',
    ],
    [`(a => { a.a = a; return a })({})`, '{ a: [Circular] }'],
    [`{ get bad() { throw new Error('no') } }`, '{ bad: [Getter] }'],
  ]
  for (const [n, [args, wanted]] of lines.entries()) {
    sandbox.load(specOf(`c${n}`, `exports.handler = async () => { console.log(${args}) }`))
    const { logs } = await runBatch(sandbox, `c${n}`, [itemOf(1, {})])
    t.equal(logs[0]?.text, wanted.replace(`[ 1, 'b' ]`, `[1, 'b']`), args)
  }
  sandbox.load(
    specOf(
      'long',
      `exports.handler = async () => { console.log('x'.repeat(1e6), [...Array(1e5).keys()]); console.log([...Array(1e5).keys()]) }`,
    ),
  )
  const { logs } = await runBatch(sandbox, 'long', [itemOf(1, {})])
  t.ok((logs[0]?.text.length ?? 1e9) <= 8193)
  t.match(logs[1]?.text, /99, … 99900 more\]$/)
})
