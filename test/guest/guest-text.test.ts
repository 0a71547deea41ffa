import { readdirSync, readFileSync } from 'node:fs'
import { createContext, runInContext } from 'node:vm'
import t from 'tap'
import { guestFiles, guestText } from '#guest/guest-text.ts'

process.removeAllListeners('warning')
const folder = new URL('../../src/guest/', import.meta.url)

t.test('the text is one expression that needs nothing but ECMAScript', async t => {
  const text = guestText()
  t.notMatch(text, /^(import|export) /m)
  const context = createContext({ memory: new SharedArrayBuffer(65_536), host: () => undefined })
  const spec = {
    name: 'f',
    version: '1',
    handler: 'index.handler',
    timeoutMs: 1,
    memoryMiB: 1,
    payload: 'json',
  }
  context.spec = JSON.stringify({ ...spec, environment: {}, publish: [], allow: [], sideBySide: false })
  context.boot = runInContext(text, context)
  const loaded = runInContext(
    `boot(spec, memory, host).load((exports) => { exports.handler = async () => 1 })`,
    context,
  )
  t.equal(loaded, undefined, 'a module loads in a context that has nothing of Node')
  t.ok(text.length < 90_000, `${text.length} characters: every isolate holds and compiles them`)
})

t.test('every guest file is part of the text, and top-level names are unique', async t => {
  const host = ['guest-text.ts', 'fescue.d.ts']
  const files = readdirSync(folder).filter(file => file.endsWith('.ts') && !host.includes(file))
  t.same([...guestFiles].sort(), files.sort())
  const seen = new Map<string, string>()
  for (const file of guestFiles) {
    const source = readFileSync(new URL(file, folder), 'utf8')
    for (const [, name = ''] of source.matchAll(
      /^(?:export )?(?:async )?(?:const|let|class|function) (\w+)/gm,
    )) {
      t.equal(seen.get(name), undefined, `${name} of ${file}`)
      seen.set(name, file)
    }
    for (const [, from = ''] of source.matchAll(/^import [^;]*? from '([^']*)'/gm))
      t.match(from, /^\.\//, `${file} imports only its siblings: ${from}`)
  }
})
