/**
 * The command that starts an executor: Node with its fences, under `prlimit` and `setpriv` where these are installed.
 *
 *   prlimit (no core file, no file written, 64 descriptors) → setpriv (dies with its parent, no new privileges) → node
 *
 * Each replaces itself by the next, so the process id stays. The executor reads its own files only (Node's permission
 * model), has an empty environment but for the time zone, and no network use of its own.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ExecutorSettings } from './executor/settings.ts'

/** Where the executor's files are; the defaults fit a checkout. */
export interface ExecutorFiles {
  /** Entry file of the executor. */
  readonly entry: string
  /** Folders and files that it may read. */
  readonly readable: readonly string[]
  readonly settings: ExecutorSettings
}

const require = createRequire(import.meta.url)

/** The folder of an installed package, or undefined. */
function packageFolder(name: string): string | undefined {
  try {
    return dirname(require.resolve(`${name}/package.json`))
  } catch {
    return undefined
  }
}

/** isolated-vm's native module for this Node, processor and C library. */
export function nativeModule(): string {
  const folder = packageFolder('isolated-vm')
  if (folder === undefined) throw new Error('isolated-vm is not installed: run npm ci')
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } }
  const library = header.glibcVersionRuntime === undefined ? 'musl' : 'glibc'
  const { arch, platform, versions } = process
  const prebuilt = join(
    folder,
    'prebuilds',
    `${platform}-${arch}`,
    `isolated-vm.abi${versions.modules}.${library}.node`,
  )
  if (existsSync(prebuilt)) return prebuilt
  return join(folder, 'build/Release/isolated_vm.node')
}

/** The library `buffer` 6 (MIT) and what it requires, by module name. */
function bufferFiles(): Record<string, string> {
  const files: Record<string, string> = {}
  for (const name of ['base64-js', 'ieee754', 'buffer']) {
    const folder = packageFolder(name)
    if (folder === undefined) return {}
    files[name] = join(folder, 'index.js')
  }
  return files
}

/** Files of a checkout. */
export function checkoutFiles(): ExecutorFiles {
  const source = fileURLToPath(new URL('..', import.meta.url))
  const settings: ExecutorSettings = { native: nativeModule(), bufferFiles: bufferFiles() }
  return {
    entry: join(source, 'sandbox/executor/main.ts'),
    readable: [
      ...['sandbox', 'guest', 'base'].map(folder => join(source, folder)),
      join(source, '../package.json'),
      settings.native,
      ...Object.values(settings.bufferFiles),
    ],
    settings,
  }
}

/** The full path of a program, or undefined. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/bin', '/bin', '/usr/sbin', '/sbin']
  return folders.map(folder => join(folder, name)).find(path => path.startsWith('/') && existsSync(path))
}

/** Most descriptors that an executor opens. */
const descriptorsMax = 64

/** Program and arguments that start an executor. */
export function executorCommand(files: ExecutorFiles): readonly string[] {
  const prlimit = findProgram('prlimit')
  const setpriv = findProgram('setpriv')
  return [
    ...(prlimit === undefined ? [] : [prlimit, '--core=0', '--fsize=0', `--nofile=${descriptorsMax}`, '--']),
    ...(setpriv === undefined ? [] : [setpriv, '--pdeathsig', 'KILL', '--no-new-privs', '--']),
    process.execPath,
    '--no-node-snapshot',
    '--disable-warning=ExperimentalWarning',
    '--permission',
    '--allow-addons',
    ...files.readable.map(path => `--allow-fs-read=${path}`),
    '--max-old-space-size=64',
    '--v8-pool-size=1',
    '--wasm-max-mem-pages=256',
    files.entry,
    JSON.stringify(files.settings),
  ]
}
