/**
 * Makes one CommonJS text out of a function's folder: types stripped, imports bundled, `fescue` left out.
 *
 *   index.ts ─┐
 *   lib/*.ts ─┼─► esbuild (a child process, ended after the last build) ─► code + source map
 *   npm ──────┘      ▲ bundle-cache answers first: by content, so a device without esbuild runs what was built
 *
 * A handler file `NAME.cjs` that opens with `bundleMark` is a bundle already, made elsewhere, and is taken as it
 * is. Node's own modules are refused here, where the author sees it, with what to use instead
 * (`builtin-modules.ts`); errors carry file, line, column and code frame (`base/code-frame.ts`).
 */
import { access, readFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import type { BuildOptions, Message } from 'esbuild'
import { codeFrame } from '#base/code-frame.ts'
import { asFescueError, FescueError } from '#base/errors.ts'
import { nearest } from '#base/nearest.ts'
import { refuseBuiltins } from './builtin-modules.ts'
import type { Bundle, BundleCache } from './bundle-cache.ts'

export interface BuildRequest {
  /** Absolute path of the function's folder. */
  readonly folder: string
  /** `index.handler`. */
  readonly handler: string
  /** Absolute path of the folder that paths in messages are relative to. */
  readonly shownFrom: string
}

/** First line of a built bundle. */
export const bundleMark = '// fescue bundle'
/** Bytes of one bundle (D6): with its manifest it is one document of one transaction. */
export const bundleMaxBytes = 4 * 1024 * 1024
/** A longer source map is left out. */
const mapMaxChars = 2 * 1024 * 1024
/** Errors of one build that are shown. */
const errorsShownMax = 3
const endings = ['.ts', '.mts', '.js', '.mjs', '.cjs']

type Esbuild = typeof import('esbuild')
export type LoadEsbuild = () => Promise<Pick<Esbuild, 'build' | 'stop'>>

export class Bundler {
  readonly #cache: BundleCache | undefined
  readonly #load: LoadEsbuild
  #running = 0

  constructor(cache: BundleCache | undefined, load: LoadEsbuild = () => import('esbuild')) {
    this.#cache = cache
    this.#load = load
  }

  /** Errors: FESCUE_BUNDLE_FAILED with file, line, column and code frame; FESCUE_BUNDLER_MISSING. */
  async build(request: BuildRequest): Promise<Bundle> {
    const entry = await entryOf(request)
    if (entry.endsWith('.cjs')) {
      const code = await readFile(join(request.folder, entry), 'utf8')
      if (code.startsWith(bundleMark)) return withinBounds({ code, map: undefined }, request)
    }
    const known = await this.#cache?.find(request.folder, entry)
    if (known !== undefined) return known
    const { bundle, inputs } = await this.#run(request, entry)
    await this.#cache?.keep(request.folder, entry, bundle, inputs)
    return bundle
  }

  async #run(request: BuildRequest, entry: string): Promise<{ bundle: Bundle; inputs: string[] }> {
    const esbuild = await this.#esbuild()
    this.#running += 1
    try {
      const result = await esbuild.build(optionsFor(request, entry))
      const text = (ending: string) => result.outputFiles?.find(file => file.path.endsWith(ending))?.text
      const map = text('.js.map')
      const bundle = withinBounds(
        { code: text('.js') ?? '', map: (map?.length ?? 0) > mapMaxChars ? undefined : map },
        request,
      )
      checkExport(request, entry, bundle.code)
      return { bundle, inputs: Object.keys(result.metafile?.inputs ?? {}) }
    } catch (error) {
      throw await failureOf(error, request)
    } finally {
      this.#running -= 1
      // esbuild's service is a process of 30 MB: it lives only while something is built.
      if (this.#running === 0) await esbuild.stop()
    }
  }

  async #esbuild(): Promise<Pick<Esbuild, 'build' | 'stop'>> {
    try {
      return await this.#load()
    } catch (error) {
      const mend = `install it (npm install esbuild), or bring an index.cjs that was bundled elsewhere and opens with "${bundleMark}"`
      throw new FescueError('FESCUE_BUNDLER_MISSING', `esbuild is not installed: ${mend}`, { cause: error })
    }
  }
}

function optionsFor({ folder }: BuildRequest, entry: string): BuildOptions {
  return {
    entryPoints: [entry],
    absWorkingDir: folder,
    outdir: folder,
    bundle: true,
    write: false,
    metafile: true,
    format: 'cjs',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    target: 'es2024',
    external: ['fescue'],
    sourcemap: 'external',
    sourcesContent: false,
    charset: 'utf8',
    legalComments: 'none',
    logLevel: 'silent',
    plugins: [refuseBuiltins],
  }
}

/** The handler's file: the first ending that exists. */
async function entryOf({ folder, handler, shownFrom }: BuildRequest): Promise<string> {
  const stem = handler.slice(0, handler.lastIndexOf('.'))
  for (const ending of endings) {
    const found = await access(join(folder, stem + ending)).then(
      () => true,
      () => false,
    )
    if (found) return stem + ending
  }
  const place = relative(shownFrom, join(folder, stem))
  throw new FescueError('FESCUE_BUNDLE_FAILED', `${place}.ts or ${stem}.js is missing (handler: ${handler})`)
}

function withinBounds(bundle: Bundle, { folder, shownFrom }: BuildRequest): Bundle {
  const bytes = Buffer.byteLength(bundle.code)
  if (bytes <= bundleMaxBytes) return bundle
  const text = `${relative(shownFrom, folder)}: the bundle has ${bytes} bytes, at most ${bundleMaxBytes} are allowed`
  throw new FescueError('FESCUE_BUNDLE_FAILED', text)
}

/**
 * Whether an ES module exports the handler, read from the table that esbuild writes. CommonJS and `export *`
 * have none: there the executor finds out when it loads the function.
 */
function checkExport({ folder, handler, shownFrom }: BuildRequest, entry: string, code: string): void {
  const table = /^__export\(\w+_exports, \{\n([^}]*)\}\);\nmodule\.exports = __toCommonJS/m.exec(code)?.[1]
  if (table === undefined || code.includes('__reExport(')) return
  const names = [...table.matchAll(/^ *([\w$]+): /gm)].map(([, name = '']) => name)
  const wanted = handler.slice(handler.lastIndexOf('.') + 1)
  if (names.includes(wanted)) return
  const near = nearest(wanted, names)
  const mend = near === undefined ? `it exports ${names.join(', ') || 'nothing'}` : `did you mean ${near}?`
  const text = `${relative(shownFrom, join(folder, entry))}: no export "${wanted}" (handler: ${handler}): ${mend}`
  throw new FescueError('FESCUE_BUNDLE_FAILED', text)
}

async function failureOf(error: unknown, request: BuildRequest): Promise<FescueError> {
  if (!(error instanceof Error) || !('errors' in error) || !Array.isArray(error.errors))
    return asFescueError(error, 'FESCUE_BUNDLE_FAILED')
  const messages: Message[] = error.errors
  const shown = await Promise.all(messages.slice(0, errorsShownMax).map(each => messageText(each, request)))
  const more = messages.length - shown.length
  if (more > 0) shown.push(`and ${more} more`)
  return new FescueError('FESCUE_BUNDLE_FAILED', shown.join('\n'))
}

async function messageText(message: Message, { folder, shownFrom }: BuildRequest): Promise<string> {
  const { location } = message
  if (location === null) return message.text
  const path = join(folder, location.file)
  const lines = (await readFile(path, 'utf8').catch(() => '')).split('\n')
  const place = `${relative(shownFrom, path)}:${location.line}:${location.column + 1}`
  return `${place}: ${message.text}\n${codeFrame(lines, location.line, location.column, location.length)}`
}
