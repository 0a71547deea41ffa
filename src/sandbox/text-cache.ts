/**
 * Texts made from sources, kept from one start to the next: stripping types loads a WebAssembly module, which costs
 * the daemon 16 MB for ever (Node 24.21), and the sources seldom change.
 *
 *   folder/executor-HASH.json      HASH of Node's version and all sources; one file, the newest
 */
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const prefix = 'executor-'

/** What `make` gives, from the cache when the sources are those it was made of. A cache that fails costs only time. */
export function cachedTexts<Texts extends Record<string, string>>(
  folder: string | undefined,
  sources: Iterable<string>,
  make: () => Texts,
): Texts {
  if (folder === undefined) return make()
  const hash = createHash('sha256').update(process.version)
  for (const source of sources) hash.update('\0').update(source)
  const name = `${prefix}${hash.digest('hex').slice(0, 32)}.json`
  try {
    return JSON.parse(readFileSync(join(folder, name), 'utf8')) as Texts
  } catch {
    // Absent or damaged: made anew.
  }
  const texts = make()
  try {
    keep(folder, name, JSON.stringify(texts))
  } catch {
    // A folder that cannot be written to.
  }
  return texts
}

function keep(folder: string, name: string, text: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  for (const old of readdirSync(folder)) if (old.startsWith(prefix)) rmSync(join(folder, old))
  const temporary = join(folder, `.${name}.${process.pid}`)
  writeFileSync(temporary, text, { mode: 0o600 })
  renameSync(temporary, join(folder, name))
}
