/**
 * Built bundles by content: DATA/bundles/HASH.json.
 *
 *   HASH = SHA-256 of (entry, names and bytes of the folder's files)     file = { inputs outside: hashes, bundle }
 *
 * The files of the folder itself (without node_modules and dot files) make the name; what the bundle took from
 * elsewhere (npm packages, a shared folder) is listed inside with its hash and checked before the entry counts.
 * So the cache can be asked without esbuild, and a changed dependency is seen.
 */
import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { FescueError } from '#base/errors.ts'

export interface Bundle {
  readonly code: string
  /** Source map (version 3) as JSON; undefined for a bundle that came without. */
  readonly map: string | undefined
}

interface Entry extends Bundle {
  /** Hash by path, relative to the function's folder. */
  readonly outside: Readonly<Record<string, string>>
}

/** Entries kept; the oldest go first (D6). */
export const cacheEntriesMax = 128
/** Files and bytes of a function's folder, dependencies not counted (D6). */
export const folderMaxFiles = 1_000
export const folderMaxBytes = 32 * 1024 * 1024

const hashOf = (text: string | Buffer): string => createHash('sha256').update(text).digest('hex')

export class BundleCache {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  async find(folder: string, entry: string): Promise<Bundle | undefined> {
    const text = await readFile(await this.#fileFor(folder, entry), 'utf8').catch(() => undefined)
    if (text === undefined) return undefined
    const found = entryOf(text)
    if (found === undefined) return undefined
    for (const [path, hash] of Object.entries(found.outside)) {
      const bytes = await readFile(join(folder, path)).catch(() => undefined)
      // A dependency that is absent here (a bundle built elsewhere) cannot have changed.
      if (bytes !== undefined && hashOf(bytes) !== hash) return undefined
    }
    return { code: found.code, map: found.map }
  }

  /** `inputs` are the paths that the bundle was made of, relative to the folder. */
  async keep(folder: string, entry: string, bundle: Bundle, inputs: readonly string[]): Promise<void> {
    const outside: Record<string, string> = {}
    for (const path of inputs) {
      if (!path.startsWith('..') && !path.includes('node_modules/')) continue
      const bytes = await readFile(join(folder, path)).catch(() => undefined)
      if (bytes !== undefined) outside[path] = hashOf(bytes)
    }
    const content: Entry = { ...bundle, outside }
    const file = await this.#fileFor(folder, entry)
    await mkdir(this.#folder, { recursive: true })
    await writeFile(`${file}.new`, JSON.stringify(content))
    await rename(`${file}.new`, file)
    await this.#prune()
  }

  async #fileFor(folder: string, entry: string): Promise<string> {
    return join(this.#folder, `${hashOf(`${entry}\n${await hashFolder(folder)}`)}.json`)
  }

  async #prune(): Promise<void> {
    const names = await readdir(this.#folder)
    if (names.length <= cacheEntriesMax) return
    const aged = await Promise.all(
      names.map(async name => ({ name, at: (await stat(join(this.#folder, name))).mtimeMs })),
    )
    aged.sort((a, b) => b.at - a.at)
    for (const { name } of aged.slice(cacheEntriesMax)) await rm(join(this.#folder, name), { force: true })
  }
}

/** An entry, or undefined when the file was cut off or is of another making. */
function entryOf(text: string): Entry | undefined {
  try {
    const entry: Partial<Entry> = JSON.parse(text)
    const { code, map, outside } = entry
    return typeof code === 'string' && outside !== undefined ? { code, map, outside } : undefined
  } catch {
    return undefined
  }
}

/**
 * SHA-256 over names and bytes of the files below `folder`, in order of their names, without node_modules and
 * dot files. Errors: FESCUE_BUNDLE_FAILED when the folder exceeds its bounds.
 */
export async function hashFolder(folder: string): Promise<string> {
  const hash = createHash('sha256')
  let bytes = 0
  for (const path of await filesOf(folder)) {
    const content = await readFile(join(folder, path)).catch(() => undefined)
    if (content === undefined) continue
    bytes += content.length
    if (bytes > folderMaxBytes) throw tooLarge(folder, `more than ${folderMaxBytes} bytes`)
    hash.update(`${path}\n${content.length}\n`).update(content)
  }
  return hash.digest('hex')
}

/** Paths of the files of a function's folder that count, sorted. */
async function filesOf(folder: string): Promise<string[]> {
  const found: string[] = []
  const visit = async (below: string): Promise<void> => {
    const entries = await readdir(join(folder, below), { withFileTypes: true }).catch(() => [])
    for (const entry of entries) {
      if (!counts(entry.name)) continue
      const path = below === '' ? entry.name : `${below}/${entry.name}`
      if (entry.isDirectory()) await visit(path)
      else found.push(path)
      if (found.length > folderMaxFiles) throw tooLarge(folder, `more than ${folderMaxFiles} files`)
    }
  }
  await visit('')
  return found.sort()
}

/** Whether a file or folder of this name belongs to a function's source. */
export function counts(name: string): boolean {
  return name !== 'node_modules' && !name.startsWith('.') && !name.endsWith('~')
}

function tooLarge(folder: string, what: string): FescueError {
  return new FescueError('FESCUE_BUNDLE_FAILED', `${folder} has ${what}: keep only sources in it`)
}
