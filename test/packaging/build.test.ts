/** The package: what is in it, whose it is, that it runs, and that what loads lazily in a checkout does so in the bundle. */
import { execFile } from 'node:child_process'
import { existsSync, globSync } from 'node:fs'
import { mkdir, mkdtempDisposable, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import type { Metafile } from 'esbuild'
import { build as bundle } from 'esbuild'
import t from 'tap'
import { ApiClient } from '#cli/api-client.ts'
import { daemonOf } from '#cli/daemon-target.ts'
import { serverFlags } from '#cli/relaunch.ts'
import { buildPackage, bundledPackages, programs, root } from '../../packaging/build.ts'
import { compiledSchemas } from '../../packaging/compiled-schemas.ts'
import { startFescue } from '../harness/processes.ts'

const run = promisify(execFile)
// Below node_modules, so that esbuild is found as it is beside an installed package.
const cache = join(root, 'node_modules/.cache')
await mkdir(cache, { recursive: true })
const folder = await mkdtempDisposable(join(cache, 'fescue-dist-'))
t.teardown(() => folder.remove())
const dist = join(folder.path, 'dist')
const metafile = await buildPackage(dist)
const text = (path: string) => readFile(join(dist, path), 'utf8')

/** Outputs that are loaded with this one, it among them. */
function loadedWith(name: string, found = new Set<string>()): ReadonlySet<string> {
  if (found.has(name)) return found
  found.add(name)
  for (const each of metafile.outputs[name]?.imports ?? [])
    if (each.kind === 'import-statement' && !each.external) loadedWith(each.path, found)
  return found
}

function outputOf(entryPoint: string): [string, Metafile['outputs'][string]] {
  const found = Object.entries(metafile.outputs).find(([, output]) => output.entryPoint === entryPoint)
  if (found === undefined) throw new Error(`no chunk for ${entryPoint}`)
  return found
}

t.test('the licence of each bundled package is in THIRD-PARTY-NOTICES', async t => {
  const notices = await text('THIRD-PARTY-NOTICES')
  const folders = bundledPackages(metafile)
  t.ok(folders.length > 20)
  for (const each of folders) {
    const { name, version, license } = JSON.parse(await readFile(join(root, each, 'package.json'), 'utf8'))
    t.ok(notices.includes(`\n${name} ${version} (${license})\n`), name)
  }
  t.match(notices, /isolated-vm[\s\S]*Permission to use, copy, modify/)
})

t.test('commands and libraries that load lazily stay out of what is loaded first', async t => {
  const [main] = outputOf('src/main.ts')
  const first = [...loadedWith(main)]
  t.ok(first.length < 6, first.join(' '))
  const [start] = outputOf('src/cli/start.ts')
  const [daemon] = outputOf('src/daemon/daemon.ts')
  const [ajv] = outputOf('node_modules/ajv/dist/ajv.js')
  const [cloud] = outputOf('src/cloud/cloud.ts')
  t.notOk(loadedWith(start).has(daemon))
  for (const late of [ajv, cloud]) t.notOk(loadedWith(daemon).has(late), late)
})

t.test('what is taken from a package that loads lazily is there in the bundle', async t => {
  for (const path of globSync('src/**/*.ts', { cwd: root })) {
    const source = await readFile(join(root, path), 'utf8')
    for (const [, names = '', name = ''] of source.matchAll(
      /\{ ([\w, :]+) \} = await import\('([^'#.][^']*)'\)/g,
    )) {
      if (name.startsWith('node:') || name === 'esbuild') continue
      const chunk = Object.values(metafile.outputs).find(({ entryPoint = '' }) =>
        entryPoint.includes(`/${name}/`),
      )
      for (const each of names.split(','))
        t.ok(
          chunk?.exports.includes(each.replace(/:.*/, '').trim()),
          `${path}: ${each} of ${name}: use .default`,
        )
    }
  }
})

t.test('schemas compiled ahead find what ajv finds', async t => {
  const { outputFiles } = await bundle({
    stdin: { contents: compiledSchemas(root), resolveDir: root, loader: 'js' },
    bundle: true,
    format: 'esm',
    platform: 'node',
    write: false,
  })
  const file = join(folder.path, 'schemas.mjs')
  await writeFile(file, outputFiles[0]?.text ?? '')
  const { compiledCheck } = await import(pathToFileURL(file).href)
  for (const path of globSync('src/**/*.schema.json', { cwd: root })) {
    const { $schema: _, ...rules } = JSON.parse(await readFile(join(root, path), 'utf8'))
    const check = compiledCheck(rules)
    t.equal(check({}), true, path)
    t.equal(check({ nonsense: 1 }), false, path)
    t.match(check.errors, [{ keyword: 'additionalProperties', params: { additionalProperty: 'nonsense' } }])
  }
  t.equal(compiledCheck({ type: 'object' }), undefined, 'another schema is compiled when it comes')
})

t.test('what is started as a process of its own is a file of its own', async t => {
  for (const path of globSync('src/**/*.ts', { cwd: root }))
    for (const [, name = ''] of (await readFile(join(root, path), 'utf8')).matchAll(
      /\bprogram\('([^']+)'\)/g,
    ))
      t.ok(programs.includes(name), `${path}: ${name}`)
  for (const each of programs) t.ok(existsSync(join(dist, 'lib', basename(each, '.ts').concat('.js'))), each)
  // LevelDB is opened in the one that looks at a damaged database.
  const database = join(folder.path, 'none')
  const child = run(process.execPath, [join(dist, 'lib/probe-child.js'), database])
  const { stderr } = await child.catch(error => error as { stderr: string })
  t.match(stderr, /create_if_missing is false/)
})

t.test('files: everything named exists, paths of editors and of package.json lead somewhere', async t => {
  const manifest = JSON.parse(await text('package.json'))
  for (const each of [...manifest.files, manifest.types, manifest.bin.fescue])
    t.ok(existsSync(join(dist, each)), each)
  t.notOk('dependencies' in manifest || 'scripts' in manifest || 'devDependencies' in manifest)
  for (const path of globSync('{functions,device-config}/**/*.yaml', { cwd: dist })) {
    const [, schema = ''] = /\$schema=(\S+)/.exec(await text(path)) ?? []
    t.ok(existsSync(join(dist, dirname(path), schema)), `${path}: ${schema}`)
  }
  const launcher = await text('bin/fescue')
  t.ok(launcher.includes(`exec "$node" ${serverFlags.join(' ')} `))
  t.notMatch(launcher, /@[A-Z]+@/)
  t.equal((await stat(join(dist, 'bin/fescue'))).mode & 0o111, 0o111)
})

t.test('a project that installs it has types for its functions', async t => {
  const project = join(folder.path, 'project')
  await mkdir(join(project, 'node_modules'), { recursive: true })
  await symlink(dist, join(project, 'node_modules/fescue'))
  await writeFile(
    join(project, 'index.ts'),
    `import { publish, state } from 'fescue'
export async function handler(event: { celsius: number }, context: Context) {
  const on = (await state.get<boolean>('on')) ?? false
  publish(\`fans/\${context.topic}\`, { on, celsius: event.celsius })
  // @ts-expect-error: a topic is a text
  publish(7)
}
`,
  )
  const options = [
    '--ignoreConfig',
    '--noEmit',
    '--strict',
    '--target',
    'esnext',
    '--module',
    'nodenext',
    '--types',
    '',
  ]
  const compiler = join(root, 'node_modules/typescript/bin/tsc')
  // Without what the test runner adds to the options of Node, under which the compiler does not load.
  const command = ['-u', 'NODE_OPTIONS', process.execPath, compiler, ...options, 'index.ts']
  await t.resolves(run('env', command, { cwd: project }))
})

t.test('it runs: daemon, executor, page, a function in TypeScript', async t => {
  const functions = join(folder.path, 'functions')
  await mkdir(join(functions, 'double'), { recursive: true })
  await writeFile(join(functions, 'double/function.yaml'), 'triggers:\n  - topic: in/#\n')
  await writeFile(
    join(functions, 'double/index.ts'),
    'export const handler = (n: number) => Buffer.from(String(n * 2)).toString()\n',
  )
  const data = join(folder.path, 'data')
  const args = ['start', '--data', data, '--functions', functions, '--mqtt-port', '0', '--http-port', '0']
  const daemon = await startFescue(args, [], {}, join(dist, 'lib/main.js'))
  const client = new ApiClient(daemonOf(data))
  const result = await client.call<unknown>('/api/v1/functions/double/invoke', {
    method: 'POST',
    body: 21,
  })
  t.equal(result, '42')
  const page = await fetch(`http://127.0.0.1:${daemon.ready.http}/`)
  t.match(await page.text(), /<html/)
  t.equal(await daemon.stop(), 0)
})
