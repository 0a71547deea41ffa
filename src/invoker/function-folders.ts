/**
 * The functions folder as candidates: each sub-folder with a `function.yaml` is a function of that name.
 *
 *   functions/NAME/function.yaml + index.ts ─► manifest ─► bundle ─► Candidate: a revision, or why there is none
 *
 * Every look builds every function; the bundle cache makes that cheap, and sees changes in shared folders and
 * npm packages too. Whether a revision is new, its id tells.
 */
import { readdir, readFile, stat } from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import { asFescueError, FescueError } from '#base/errors.ts'
import { namePattern } from '#base/ids.ts'
import type { Bundler } from './bundler.ts'
import type { ReadManifest } from './manifest.ts'
import { makeRevision, type Revision } from './revision.ts'

export const manifestFile = 'function.yaml'
/** Functions of one device (D6). */
export const functionsMax = 1_000
const buildsAtOnce = 8

export type Candidate =
  | { readonly kind: 'built'; readonly name: string; readonly revision: Revision }
  | { readonly kind: 'failed'; readonly name: string; readonly error: FescueError }

/** The folder as it is, or why it cannot be read (then nothing is concluded from what is absent). */
export type Scan =
  | { readonly kind: 'read'; readonly candidates: readonly Candidate[] }
  | { readonly kind: 'unreadable'; readonly error: Error }

export class FunctionFolders {
  readonly #root: string
  readonly #bundler: Bundler
  readonly #readManifest: ReadManifest

  constructor(root: string, bundler: Bundler, readManifest: ReadManifest) {
    this.#root = root
    this.#bundler = bundler
    this.#readManifest = readManifest
  }

  async scan(): Promise<Scan> {
    let names: string[]
    try {
      names = await this.#names()
    } catch (error) {
      return { kind: 'unreadable', error: error instanceof Error ? error : new Error(String(error)) }
    }
    const candidates: Candidate[] = []
    for (let i = 0; i < names.length; i += buildsAtOnce)
      candidates.push(...(await Promise.all(names.slice(i, i + buildsAtOnce).map(name => this.#look(name)))))
    return { kind: 'read', candidates }
  }

  async #names(): Promise<string[]> {
    const entries = await readdir(this.#root, { withFileTypes: true })
    const found: string[] = []
    for (const { name } of entries) {
      if (name.startsWith('.') || name === 'node_modules') continue
      const there = await stat(join(this.#root, name, manifestFile)).then(
        stats => stats.isFile(),
        () => false,
      )
      if (there) found.push(name)
    }
    return found.sort().slice(0, functionsMax)
  }

  async #look(name: string): Promise<Candidate> {
    const folder = join(this.#root, name)
    try {
      if (!namePattern.test(name))
        throw new FescueError('FESCUE_NAME_INVALID', `folder "${name}": use 1 to 64 of A-Z a-z 0-9 . _ -`)
      const revision = await buildRevision(folder, this.#bundler, this.#readManifest)
      return { kind: 'built', name, revision }
    } catch (error) {
      return { kind: 'failed', name, error: asFescueError(error, 'FESCUE_BUNDLE_FAILED') }
    }
  }
}

/**
 * Builds the revision of the function in `folder`, whose name is the folder's. Paths in messages are relative
 * to the parent of the functions folder. Errors: FESCUE_MANIFEST_INVALID, FESCUE_BUNDLE_FAILED,
 * FESCUE_BUNDLER_MISSING.
 */
export async function buildRevision(
  folder: string,
  bundler: Bundler,
  readManifest: ReadManifest,
): Promise<Revision> {
  const shownFrom = dirname(dirname(folder))
  const path = join(folder, manifestFile)
  const shown = relative(shownFrom, path)
  const manifest = readManifest(basename(folder), await textOf(path, shown), shown)
  const bundle = await bundler.build({ folder, handler: manifest.handler, shownFrom })
  return makeRevision(manifest, bundle)
}

async function textOf(path: string, shown: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new FescueError('FESCUE_MANIFEST_INVALID', `${shown}: cannot be read: ${reason}`, { cause })
  }
}
