/** The house rules that a machine can hold: layers, cycles, lengths, leftovers, and docs that name what exists. */
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import t from 'tap'

const root = join(import.meta.dirname, '..')
/** From the ground to the top: a folder may import only folders of a lower level. */
const levels: Record<string, number> = {
  base: 0,
  guest: 0.5,
  config: 1,
  store: 1,
  sandbox: 1,
  router: 2,
  broker: 3,
  invoker: 3,
  uplink: 3,
  api: 4,
  daemon: 5,
  cli: 6,
}
/** Folders that stand beside the layers, and what they may import. */
const beside: Record<string, readonly string[]> = { cloud: ['base', 'store'], dashboard: ['base'] }
/** Commands that work without a daemon may import what they need (see src/README.md); others use the API. */
const offlineVerbs = new Set(['start', 'dev', 'cloud', 'devices', 'check'])

const fileMaxLines = 400
const sources = globSync('src/**/*.{ts,js,cjs}', { cwd: root }).filter(path => !path.endsWith('.d.ts'))
const tests = globSync('{test,bench,packaging}/**/*.ts', { cwd: root }).filter(
  path => !path.includes('node_modules'),
)
const text = (path: string) => readFileSync(join(root, path), 'utf8')
const folderOf = (path: string) => path.split('/')[1] ?? ''

/** Static and dynamic imports of a source text; `kind` tells a type-only one. */
function imports(source: string): { target: string; type: boolean }[] {
  const found: { target: string; type: boolean }[] = []
  for (const match of source.matchAll(/^(?:import|export)\s+(type\s)?[^'"`;]*?from\s+'([^']+)'/gms)) {
    found.push({ target: match[2] ?? '', type: match[1] !== undefined })
  }
  for (const match of source.matchAll(/^import\s+'([^']+)'|\bimport\('([^']+)'\)/gm)) {
    found.push({ target: match[1] ?? match[2] ?? '', type: false })
  }
  return found
}

t.test('a folder imports only folders of a lower level', async t => {
  const problems: string[] = []
  for (const path of sources) {
    const folder = folderOf(path)
    for (const { target, type } of imports(text(path))) {
      const other = /^#([\w-]+)\//.exec(target)?.[1]
      if (other === undefined) {
        const up = target.startsWith('../') && folderOf(normalize(join(dirname(path), target))) !== folder
        if (up && path !== 'src/main.ts' && target !== '../../package.json')
          problems.push(`${path}: ${target} leaves its folder by a relative path`)
        continue
      }
      if (other === folder) problems.push(`${path}: inside a folder import ./file.ts, not ${target}`)
      const allowed =
        folder === 'main.ts'
          ? other === 'cli' || other === 'base'
          : folder in beside
            ? beside[folder]?.includes(other)
            : folder === 'cli' && !offlineVerbs.has(path.split('/')[2]?.replace(/(-.*)?\.ts$/, '') ?? '')
              ? other === 'base' || other === 'config' || (other === 'api' && type)
              : other in beside
                ? folder === 'cli'
                : (levels[other] ?? 99) < (levels[folder] ?? -1)
      if (!allowed) problems.push(`${path}: ${folder} must not import ${target}`)
    }
  }
  t.same(problems, [])
})

t.test('no import cycles', async t => {
  const graph = new Map<string, string[]>()
  for (const path of sources) {
    const targets = imports(text(path))
      .filter(({ type }) => !type)
      .map(({ target }) =>
        target.startsWith('#') ? `src/${target.slice(1)}` : normalize(join(dirname(path), target)),
      )
    graph.set(path, targets)
  }
  const state = new Map<string, 'open' | 'done'>()
  const cycles: string[] = []
  const visit = (path: string, trail: string[]): void => {
    if (state.get(path) === 'done') return
    if (state.get(path) === 'open') {
      cycles.push([...trail.slice(trail.indexOf(path)), path].join(' → '))
      return
    }
    state.set(path, 'open')
    for (const target of graph.get(path) ?? []) visit(target, [...trail, path])
    state.set(path, 'done')
  }
  for (const path of graph.keys()) visit(path, [])
  t.same(cycles, [])
})

t.test('every import of ours exists', async t => {
  const missing: string[] = []
  for (const path of [...sources, ...tests]) {
    for (const { target } of imports(text(path))) {
      if (!target.startsWith('#') && !target.startsWith('.')) continue
      const file = target.startsWith('#') ? `src/${target.slice(1)}` : normalize(join(dirname(path), target))
      if (!existsSync(join(root, file))) missing.push(`${path}: ${target}`)
    }
  }
  t.same(missing, [])
})

t.test(`files have at most ${fileMaxLines} lines and open with what they are`, async t => {
  const problems: string[] = []
  for (const path of sources) {
    const lines = text(path).split('\n')
    if (lines.length > fileMaxLines) problems.push(`${path}: ${lines.length} lines`)
    if (!/^(#!.*\n)?(\/\*\*|\/\/|'use strict')/.test(text(path))) problems.push(`${path}: no header comment`)
  }
  t.same(problems, [])
})

t.test('nothing is left over: TODO, any, skipped tests, console, sleeps', async t => {
  const problems: string[] = []
  const note = (path: string, what: string, found: boolean) => found && problems.push(`${path}: ${what}`)
  for (const path of sources) {
    const source = text(path)
    note(path, 'TODO or FIXME', /\b(TODO|FIXME|XXX)\b/.test(source))
    note(path, 'any', /(:|\bas|<) any\b/.test(source))
    note(
      path,
      "ES import of node:http loads undici (13 MB): use process.getBuiltinModule('node:http')",
      /^import (?!type\b)[^']*from 'node:https?'/m.test(source),
    )
    note(
      path,
      'import.meta is another file in a package: ask base/installation.ts',
      /\bimport\.meta\b/.test(source.replace(/\/\*\*[\s\S]*?\*\//g, '')) &&
        path !== 'src/base/installation.ts',
    )
    note(
      path,
      'global fetch loads undici',
      /(?<![.\w])fetch\(/.test(source) && !path.startsWith('src/dashboard') && !path.startsWith('src/guest'),
    )
  }
  for (const path of tests) {
    if (path === 'test/tidy.test.ts') continue
    note(path, 'only or todo', /\bt\.(only|todo)\(|\{ (only|todo): /.test(text(path)))
  }
  t.same(problems, [])
})

t.test('a test file mirrors its source file, or lives in a folder of behaviours', async t => {
  const behaviours = new Set(['packaging', 'e2e', 'faults', 'conformance', 'fakes', 'browser'])
  const problems: string[] = []
  for (const path of tests.filter(each => each.endsWith('.test.ts'))) {
    const [, folder = '', ...rest] = path.split('/')
    if (rest.length === 0 || behaviours.has(folder)) continue
    const stem = rest.join('/').replace(/\.test\.ts$/, '')
    const mirrored = ['.ts', '.js', '.cjs', '/', '.html'].some(end =>
      existsSync(join(root, folder === 'bench' ? '' : 'src', folder, stem + end)),
    )
    if (!mirrored) problems.push(`${path}: no src/${folder}/${stem}.ts`)
  }
  t.same(problems, [])
})

t.test('README and src/README.md name only files that exist', async t => {
  const problems: string[] = []
  for (const doc of ['README.md', 'src/README.md', 'CONTRIBUTING.md'].filter(path =>
    existsSync(join(root, path)),
  )) {
    for (const [, path = ''] of text(doc).matchAll(
      /`((?:src|test|bench|functions|device-config)\/[\w./-]+\.\w+)`/g,
    )) {
      if (!existsSync(join(root, path))) problems.push(`${doc}: ${path}`)
    }
  }
  t.same(problems, [])
})

t.test('package.json: dependencies are pinned by the lock, scripts of installation are declared', async t => {
  const manifest = JSON.parse(text('package.json'))
  const lock = JSON.parse(text('package-lock.json'))
  for (const name of Object.keys({
    ...manifest.dependencies,
    ...manifest.devDependencies,
    ...manifest.optionalDependencies,
  })) {
    t.ok(lock.packages[`node_modules/${name}`]?.version, `${name} is in package-lock.json`)
  }
  t.notMatch(text('package-lock.json'), /"resolved":/, 'the lock names no registry host')
  const scripted = Object.entries(
    lock.packages as Record<string, { hasInstallScript?: boolean; dev?: boolean }>,
  )
    .filter(([, each]) => each.hasInstallScript)
    .map(([path]) => path.replace(/^.*node_modules\//, ''))
  for (const name of scripted) t.ok(name in manifest.allowScripts, `${name} stands in allowScripts`)
})
