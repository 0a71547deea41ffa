/**
 * What an executor is made of: its program, the guest's text, and the files that it may read.
 *
 * In a checkout the program is one text made from the sources, as the guest's is: types stripped here, so that the
 * executor, which would need 20 MB and 100 ms more for it, need not; imports among the files dropped, those of Node
 * merged. It goes in over standard input. So an executor may read one file, the native module. A package has the
 * same texts made already.
 */
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { installation } from '#base/installation.ts'
import { guestSources, guestText, plainScript } from '#guest/guest-text.ts'
import { cachedTexts } from './text-cache.ts'

export interface ExecutorFiles {
  /** The executor's code: a file, or a text for standard input. */
  readonly program:
    | { readonly kind: 'file'; readonly path: string }
    | { readonly kind: 'text'; readonly text: string }
  /** File of isolated-vm's native module. */
  readonly native: string
  /** What guest-text.ts gives. */
  readonly guest: string
  /** An expression whose value is `Buffer` for functions; empty when there is none. */
  readonly buffer: string
}

/** The folder of an installed package, or undefined. */
function packageFolder(name: string): string | undefined {
  try {
    return dirname(createRequire(installation.mainFile).resolve(`${name}/package.json`))
  } catch {
    return undefined
  }
}

/** isolated-vm's native module for this Node, processor and C library. */
export function nativeModule(): string {
  const folder = packageFolder('isolated-vm')
  if (folder === undefined) throw new Error('isolated-vm is not installed: run npm ci')
  const library = existsSync('/etc/alpine-release') ? 'musl' : 'glibc'
  const { arch, platform, versions } = process
  const name = `isolated-vm.abi${versions.modules}.${library}.node`
  const prebuilt = join(folder, 'prebuilds', `${platform}-${arch}`, name)
  return existsSync(prebuilt) ? prebuilt : join(folder, 'build/Release/isolated_vm.node')
}

/** The library `buffer` 6 (MIT) with what it requires, as one expression whose value is `Buffer`. */
export function bufferLibrary(): string {
  const bodies: string[] = []
  for (const name of ['base64-js', 'ieee754', 'buffer']) {
    const folder = packageFolder(name)
    if (folder === undefined) return ''
    const source = readFileSync(join(folder, 'index.js'), 'utf8')
    bodies.push(`${JSON.stringify(name)}: (exports, module, require) => {${source}\n}`)
  }
  return `(() => { const files = {${bodies.join(',\n')}}
    const load = name => { const module = { exports: {} }; files[name](module.exports, module, load); return module.exports }
    return load('buffer').Buffer })()`
}

const sources = dirname(installation.mainFile)
const nodeImport = /^import \{([^}]*)\} from '(node:[a-z_/]+)'/gm
const ownImport = /^import (?!type\b)[^;]*? from '(#[^']+|\.[^']+)'/gm

/** A specifier in a file under src/ as a path from src/. */
function resolveSource(from: string, specifier: string): string {
  return specifier.startsWith('#') ? specifier.slice(1) : join(dirname(from), specifier)
}

/** The executor's sources, each after those it imports, from the entry on. */
export function executorSources(): ReadonlyMap<string, string> {
  const found = new Map<string, string>()
  const visit = (path: string): void => {
    if (found.has(path)) return
    const source = readFileSync(join(sources, path), 'utf8')
    found.set(path, '')
    for (const [, specifier = ''] of source.matchAll(ownImport)) visit(resolveSource(path, specifier))
    found.delete(path)
    found.set(path, source)
  }
  visit('sandbox/executor/main.ts')
  return found
}

/** The executor's sources as one module. Top-level names are unique among them (a test sees to it). */
function executorText(): string {
  const imports = new Map<string, Set<string>>()
  const bodies: string[] = []
  for (const source of executorSources().values()) {
    for (const [, names = '', module = ''] of source.matchAll(nodeImport)) {
      const wanted = imports.get(module) ?? new Set()
      for (const name of names.split(',')) if (!/^\s*(type\s|$)/.test(name)) wanted.add(name.trim())
      imports.set(module, wanted)
    }
    bodies.push(plainScript(source))
  }
  const lines = [...imports].map(([module, names]) => `import { ${[...names].join(', ')} } from '${module}'`)
  return `${lines.join('\n')}\n${bodies.join('\n')}`
}

/** Those of this installation. To be called once: reads some fifty small files in a checkout, three in a package. */
export function executorFiles(cacheFolder?: string): ExecutorFiles {
  return installation.prepared === undefined
    ? checkoutFiles(cacheFolder)
    : preparedFiles(installation.prepared)
}

/** Names of the texts in a package, as packaging/build.ts writes them. */
export const preparedNames = { program: 'executor.mjs', guest: 'guest.js', buffer: 'buffer.js' } as const

function preparedFiles(folder: string): ExecutorFiles {
  const text = (name: string) => readFileSync(join(folder, 'texts', name), 'utf8')
  const { arch, platform, versions } = process
  const native = join(folder, 'native', `${platform}-${arch}`, `isolated-vm.abi${versions.modules}.node`)
  if (!existsSync(native))
    throw new Error(`no sandbox for Node ${versions.node} on ${platform}-${arch}: ${native}`)
  return {
    program: { kind: 'text', text: text(preparedNames.program) },
    native,
    guest: text(preparedNames.guest),
    buffer: text(preparedNames.buffer),
  }
}

/** Those of a checkout, the texts from `cacheFolder` when they are there. */
export function checkoutFiles(cacheFolder?: string): ExecutorFiles {
  const sources = [...executorSources().values(), ...guestSources()]
  const { program, guest } = cachedTexts(cacheFolder, sources, () => ({
    program: executorText(),
    guest: guestText(),
  }))
  return { program: { kind: 'text', text: program }, native: nativeModule(), guest, buffer: bufferLibrary() }
}
