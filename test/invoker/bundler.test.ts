import { mkdir, mkdtempDisposable, readdir, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import t from 'tap'
import { BundleCache } from '#invoker/bundle-cache.ts'
import { Bundler, bundleMark } from '#invoker/bundler.ts'

const folder = () => mkdtempDisposable(join(tmpdir(), 'bundler-'))

/** Writes files and builds the function `functions/f` among them. */
async function build(
  path: string,
  files: Record<string, string>,
  options: { handler?: string; bundler?: Bundler } = {},
) {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(path, name)), { recursive: true })
    await writeFile(join(path, name), text)
  }
  const { handler = 'index.handler', bundler = new Bundler(undefined) } = options
  return bundler.build({ folder: join(path, 'functions/f'), handler, shownFrom: path })
}

/** Runs a bundle as the executor does, with a `fescue` of the test. */
function load(code: string): { handler: (event?: unknown) => unknown } {
  const module: { exports: { handler?: unknown } } = { exports: {} }
  const require = (name: string) => {
    if (name !== 'fescue') throw new Error(`require of ${name}`)
    return { publish: (topic: string) => `published ${topic}` }
  }
  new Function('module', 'exports', 'require', code)(module, module.exports, require)
  return module.exports as { handler: (event?: unknown) => unknown }
}

t.test('TypeScript, relative imports, JSON and npm packages become one CommonJS text', async t => {
  await using dir = await folder()
  const { code, map } = await build(dir.path, {
    'functions/f/index.ts':
      "import { publish } from 'fescue'\nimport { twice } from './lib/twice.ts'\nimport data from './data.json'\nimport { three } from 'tiny'\nenum Kind { A = 1 }\nexport const handler = (n: number) => [publish('a'), twice(n), data.x, three, Kind.A]\n",
    'functions/f/lib/twice.ts': 'export const twice = (n: number): number => n * 2\n',
    'functions/f/data.json': '{"x": 5}',
    'functions/f/node_modules/tiny/package.json': '{"name": "tiny", "main": "index.js"}',
    'functions/f/node_modules/tiny/index.js': 'exports.three = 3\n',
  })
  t.same(load(code).handler(4), ['published a', 8, 5, 3, 1])
  t.ok(JSON.parse(map ?? '{}').sources.includes('lib/twice.ts'))
})

t.test('errors have file, line, column and code frame', async t => {
  await using dir = await folder()
  await t.rejects(build(dir.path, { 'functions/f/index.ts': '\n\nexport const handler = 1 +* 2\n' }), {
    code: 'FESCUE_BUNDLE_FAILED',
    message:
      /^functions\/f\/index\.ts:3:27: Unexpected "\*"\n[\s\S]*> 3 \| export const handler = 1 \+\* 2\n {4}\| {27}\^/,
  })
  await t.rejects(build(dir.path, { 'functions/f/index.ts': "import './gone.ts'\n" }), {
    message: /functions\/f\/index\.ts:1:8: Could not resolve "\.\/gone\.ts"/,
  })
  await t.rejects(build(dir.path, { 'functions/f/index.ts': 'export const handlr = 1\n' }), {
    message: /functions\/f\/index\.ts: no export "handler" .* did you mean handlr\?/,
  })
  await t.rejects(build(dir.path, {}, { handler: 'main.handler' }), {
    message: /main\.ts or main\.js is missing/,
  })
})

t.test('a module of Node is refused with what to use instead; a package of its name is not', async t => {
  await using dir = await folder()
  for (const name of ['fs', 'node:fs', 'fs/promises'])
    await t.rejects(
      build(dir.path, {
        'functions/f/index.js': `import x from '${name}'\nexport const handler = () => x\n`,
      }),
      {
        code: 'FESCUE_BUNDLE_FAILED',
        message:
          /index\.js:1:\d+: "(node:)?fs(\/promises)?" is a module of Node.*keep data with state from 'fescue'/,
      },
    )
  const { code } = await build(dir.path, {
    'functions/f/index.js': "import { on } from 'events'\nexport const handler = () => on\n",
    'functions/f/node_modules/events/package.json': '{"name": "events", "main": "events.js"}',
    'functions/f/node_modules/events/events.js': 'exports.on = "mine"\n',
  })
  t.equal(load(code).handler(), 'mine')
})

t.test('the cache answers without esbuild, by content, dependencies included', async t => {
  await using dir = await folder()
  let builds = 0
  const load = async () => {
    builds += 1
    return import('esbuild')
  }
  const bundler = new Bundler(new BundleCache(join(dir.path, 'bundles')), load)
  const files: Record<string, string> = {
    'functions/f/index.ts': "import { n } from '../shared/n.ts'\nexport const handler = () => n\n",
    'functions/shared/n.ts': 'export const n = 1\n',
  }
  const first = await build(dir.path, files, { bundler })
  t.same(await build(dir.path, files, { bundler }), first)
  t.equal(builds, 1)
  const second = await build(
    dir.path,
    { ...files, 'functions/shared/n.ts': 'export const n = 2\n' },
    { bundler },
  )
  t.equal(builds, 2, 'a change outside the folder is seen')
  t.not(second.code, first.code)
  await build(dir.path, { 'functions/f/index.ts': 'export const handler = () => 3\n' }, { bundler })
  t.equal(builds, 3)
  t.equal((await readdir(join(dir.path, 'bundles'))).length, 2)
})

t.test('a built bundle needs no esbuild; without esbuild anything else says what to do', async t => {
  await using dir = await folder()
  const bundler = new Bundler(undefined, () => Promise.reject(new Error('absent')))
  const code = `${bundleMark}\nexports.handler = () => 4\n`
  t.same(await build(dir.path, { 'functions/f/index.cjs': code }, { bundler }), { code, map: undefined })
  await t.rejects(build(dir.path, { 'functions/f/index.ts': 'export const handler = 1\n' }, { bundler }), {
    code: 'FESCUE_BUNDLER_MISSING',
    message: /npm install esbuild/,
  })
})

t.test('a bundle above its bound is refused', async t => {
  await using dir = await folder()
  const text = `export const big = '${'x'.repeat(5_000_000)}'\nexport const handler = () => big\n`
  await t.rejects(build(dir.path, { 'functions/f/index.ts': text }), {
    message: /at most 4194304 are allowed/,
  })
})
