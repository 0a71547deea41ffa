/**
 * Makes `dist/`, the package as it is installed: one bundle of all code, beside it what is no JavaScript.
 *
 *   src/main.ts ──esbuild──► lib/main.js + a chunk for each command and each part that loads lazily
 *   executor, guest, buffer ─► lib/texts/        the same texts that a checkout makes at run time
 *   prebuilt native modules ─► lib/native/linux-ARCH/
 *   samples, config, dashboard, schemas, types, licences, bin/fescue, package.json
 *
 *   npm run build && npm pack ./dist
 */
import { chmod, copyFile, cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import { build, type Metafile, type Plugin } from 'esbuild'
import { arenasMax, serverFlags } from '../src/cli/relaunch.ts'
import { bufferLibrary, checkoutFiles, preparedNames } from '../src/sandbox/executor-files.ts'
import { schemasAhead } from './compiled-schemas.ts'
import { thirdPartyNotices } from './notices.ts'

export const root = join(import.meta.dirname, '..')
export const architectures = ['x64', 'arm64'] as const
/** What is started as a process, by path in src/: see `program` in src/base/installation.ts. */
export const programs: readonly string[] = ['main.ts', 'store/salvage/probe-child.ts']
const notices = 'THIRD-PARTY-NOTICES'
/** Versions of Node's binary interface that the sandbox has builds for: 24 and 26. */
const nodeAbis = [137, 147]

interface Manifest {
  readonly name: string
  readonly version: string
  readonly description: string
  readonly license: string
  readonly engines: object
  readonly optionalDependencies: Readonly<Record<string, string>>
}

/** Builds into `dist`, emptied first; returns what esbuild says of the bundle. */
export async function buildPackage(dist: string): Promise<Metafile> {
  await rm(dist, { recursive: true, force: true })
  await mkdir(dist, { recursive: true })
  const manifest: Manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
  const { metafile } = await bundle(join(dist, 'lib'), manifest)
  await Promise.all([
    writeTexts(join(dist, 'lib/texts')),
    ...architectures.map(arch => copyNatives(arch, join(dist, 'lib/native', `linux-${arch}`))),
    copyPlainFiles(dist),
    writeFile(join(dist, 'package.json'), `${JSON.stringify(publishedManifest(manifest), null, 2)}\n`),
    writeFile(join(dist, notices), await thirdPartyNotices(root, bundledPackages(metafile))),
  ])
  return metafile
}

function bundle(outdir: string, { name, version }: Manifest): Promise<{ metafile: Metafile }> {
  return build({
    absWorkingDir: root,
    entryPoints: programs.map(path => ({ in: join('src', path), out: basename(path, '.ts') })),
    outdir,
    bundle: true,
    splitting: true,
    // A third less source to hold, 3 MB of a daemon; names stay, and a line is short enough for a stack trace to point at.
    minifyWhitespace: true,
    lineLimit: 160,
    chunkNames: '[name]-[hash]',
    format: 'esm',
    platform: 'node',
    target: 'node24',
    metafile: true,
    legalComments: 'none',
    logLevel: 'warning',
    // Brought by npm where functions are built; a device may do without.
    external: ['esbuild'],
    // What the CommonJS packages among them ask of Node.
    banner: {
      js: "import { createRequire as createBundleRequire } from 'node:module'\nconst require = createBundleRequire(import.meta.url)",
    },
    // `bl` and `mqtt` ask for it: Node's own does, and is loaded anyway.
    alias: { 'readable-stream': 'node:stream' },
    plugins: [ownManifest({ name, version }), nativeBeside, schemasAhead(root)],
  })
}

/** Of package.json only what the code reads. */
function ownManifest(shown: object): Plugin {
  return {
    name: 'own manifest',
    setup({ onLoad }) {
      onLoad({ filter: /\/package\.json$/ }, ({ path }) =>
        path === join(root, 'package.json') ? { contents: JSON.stringify(shown), loader: 'json' } : undefined,
      )
    },
  }
}

/** classic-level looks for its native module among prebuilds of all systems; a package has one place for it. */
const nativeBeside: Plugin = {
  name: 'native modules beside the bundle',
  setup({ onLoad }) {
    onLoad({ filter: /\/classic-level\/binding\.js$/ }, () => ({
      contents:
        "const file = './native/linux-' + process.arch + '/classic-level.node'\nmodule.exports = require(file)",
      loader: 'js',
    }))
  },
}

/** Folders of the packages whose code is in the bundle or stands beside it. */
export function bundledPackages(metafile: Metafile): readonly string[] {
  const beside = ['isolated-vm', 'classic-level', 'buffer', 'base64-js', 'ieee754']
  const folders = new Set(beside.map(name => `node_modules/${name}`))
  for (const input of Object.keys(metafile.inputs)) {
    const folder = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0]
    if (folder !== undefined) folders.add(folder)
  }
  return [...folders].sort()
}

async function writeTexts(folder: string): Promise<void> {
  const { program, guest } = checkoutFiles()
  if (program.kind !== 'text') throw new Error('a checkout makes its program as a text')
  await mkdir(folder, { recursive: true })
  await Promise.all([
    writeFile(join(folder, preparedNames.program), program.text),
    writeFile(join(folder, preparedNames.guest), guest),
    writeFile(join(folder, preparedNames.buffer), bufferLibrary()),
  ])
}

async function copyNatives(arch: (typeof architectures)[number], to: string): Promise<void> {
  await mkdir(to, { recursive: true })
  const prebuilds = (name: string) => join(root, 'node_modules', name, 'prebuilds', `linux-${arch}`)
  const level = arch === 'x64' ? 'classic-level.node' : 'classic-level.armv8.node'
  await copyFile(join(prebuilds('classic-level'), level), join(to, 'classic-level.node'))
  for (const abi of nodeAbis)
    await copyFile(
      join(prebuilds('isolated-vm'), `isolated-vm.abi${abi}.glibc.node`),
      join(to, `isolated-vm.abi${abi}.node`),
    )
}

async function copyPlainFiles(dist: string): Promise<void> {
  const copies: Readonly<Record<string, string>> = {
    LICENSE: 'LICENSE',
    'README.md': 'README.md',
    'CHANGELOG.md': 'CHANGELOG.md',
    functions: 'functions',
    'device-config': 'device-config',
    'src/dashboard': 'dashboard',
    'src/guest/fescue.d.ts': 'fescue.d.ts',
    'src/config/device-config.schema.json': 'schemas/device-config.schema.json',
    'src/invoker/manifest.schema.json': 'schemas/manifest.schema.json',
    'packaging/healthcheck.sh': 'bin/healthcheck',
  }
  for (const [from, to] of Object.entries(copies)) {
    await mkdir(dirname(join(dist, to)), { recursive: true })
    await cp(join(root, from), join(dist, to), { recursive: true })
  }
  const launcher = await readFile(join(root, 'packaging/launcher.sh'), 'utf8')
  await writeFile(
    join(dist, 'bin/fescue'),
    launcher.replace('@FLAGS@', serverFlags.join(' ')).replace('@ARENAS@', arenasMax),
  )
  for (const name of ['fescue', 'healthcheck']) await chmod(join(dist, 'bin', name), 0o755)
  for (const file of await readdir(dist, { recursive: true }))
    if (file.endsWith('.yaml')) await pointAtSchemas(join(dist, file), dist)
}

/** The schema that a file names for editors, from where the file now lies. */
async function pointAtSchemas(file: string, dist: string): Promise<void> {
  const text = await readFile(file, 'utf8')
  const pointed = text.replace(
    /(yaml-language-server: \$schema=)\S*\/([\w-]+\.schema\.json)/,
    (_, start, name) => {
      return `${start}${relative(dirname(file), join(dist, 'schemas', name))}`
    },
  )
  if (pointed !== text) await writeFile(file, pointed)
}

/** Nothing is compiled and no script runs at installation: the only dependencies are Node itself and esbuild. */
function publishedManifest({ name, version, description, license, engines, optionalDependencies }: Manifest) {
  return {
    name,
    version,
    description,
    license,
    type: 'module',
    // The machine's own Node may be older: bin/fescue finds the one that comes as a dependency.
    engines: { node: '>=18' },
    devEngines: { runtime: { name: 'node', version: (engines as { node: string }).node, onFail: 'ignore' } },
    os: ['linux'],
    cpu: [...architectures],
    libc: ['glibc'],
    bin: { fescue: 'bin/fescue' },
    types: './fescue.d.ts',
    files: [
      'bin',
      'lib',
      'dashboard',
      'schemas',
      'functions',
      'device-config',
      'fescue.d.ts',
      'CHANGELOG.md',
      notices,
    ],
    exports: {
      '.': { types: './fescue.d.ts' },
      './schemas/*': './schemas/*',
      './package.json': './package.json',
    },
    optionalDependencies,
  }
}

if (import.meta.main) {
  const dist = join(root, 'dist')
  await buildPackage(dist)
  process.stdout.write(`${dist}\n`)
}
