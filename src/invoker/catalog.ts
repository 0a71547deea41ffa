/**
 * The functions of a device as documents, so that they run before, and without, their folder.
 *
 *   space `functions`: NAME → FunctionEntry (which revision, which filters, attached or detached)
 *   space `revisions`: NAME/ID → manifest, bundle, source map
 *
 * What belongs together (entry, revision, retained values for a new filter) is written by the caller's
 * transaction. The last `revisionsKept` revisions stay; older ones are deleted when the next is made current.
 */
import type { Store } from '#store/store.ts'
import type { Transaction } from '#store/transaction.ts'
import type { Manifest } from './manifest.ts'
import type { Revision } from './revision.ts'

export type FunctionEntry = {
  readonly name: string
  /** Current revision and those before it, newest first. */
  readonly revisions: readonly [current: string, ...before: string[]]
  /** Topic filters of the current revision. */
  readonly filters: readonly string[]
  /** Milliseconds since the epoch. */
  readonly createdAt: number
} & ({ readonly state: 'attached' } | { readonly state: 'detached'; readonly detachedAt: number })

interface StoredRevision {
  readonly manifest: Manifest
  readonly code: string
  readonly map?: string
}

const entries = 'functions'
const revisions = 'revisions'
export const revisionsKept = 3

export class Catalog {
  readonly #store: Store
  readonly #entries = new Map<string, FunctionEntry>()

  private constructor(store: Store) {
    this.#store = store
  }

  static async open(store: Store): Promise<Catalog> {
    const catalog = new Catalog(store)
    for await (const { key, value } of store.list(entries))
      catalog.#entries.set(key, JSON.parse(value.toString()))
    return catalog
  }

  entry(name: string): FunctionEntry | undefined {
    return this.#entries.get(name)
  }

  all(): FunctionEntry[] {
    return [...this.#entries.values()]
  }

  /** A stored revision of a function. */
  async revision(name: string, id: string): Promise<Revision | undefined> {
    const value = await this.#store.get(revisions, `${name}/${id}`)
    if (value === undefined) return undefined
    const { manifest, code, map }: StoredRevision = JSON.parse(value.toString())
    return { id, manifest, bundle: { code, map } }
  }

  /** Makes a revision current: stages it and the entry, and drops what is older than `revisionsKept`. */
  stageSwitch(tx: Transaction, name: string, revision: Revision, now: number): FunctionEntry {
    const before = this.#entries.get(name)
    const others = (before?.revisions ?? []).filter(id => id !== revision.id)
    for (const id of others.slice(revisionsKept - 1)) tx.delete(revisions, `${name}/${id}`)
    const { code, map } = revision.bundle
    const stored: StoredRevision = {
      manifest: revision.manifest,
      code,
      ...(map === undefined ? {} : { map }),
    }
    tx.put(revisions, `${name}/${revision.id}`, Buffer.from(JSON.stringify(stored)))
    return this.#put(tx, {
      name,
      state: 'attached',
      revisions: [revision.id, ...others.slice(0, revisionsKept - 1)],
      filters: revision.manifest.topics.map(({ topic }) => topic),
      createdAt: before?.createdAt ?? now,
    })
  }

  /** The folder is gone: the function takes nothing more, what it has is kept. */
  stageDetach(tx: Transaction, entry: FunctionEntry, detachedAt: number): FunctionEntry {
    return this.#put(tx, { ...entry, state: 'detached', detachedAt })
  }

  /** Deletes the entry and its revisions. */
  stageRemoval(tx: Transaction, entry: FunctionEntry): void {
    for (const id of entry.revisions) tx.delete(revisions, `${entry.name}/${id}`)
    tx.delete(entries, entry.name)
    this.#entries.delete(entry.name)
  }

  #put(tx: Transaction, entry: FunctionEntry): FunctionEntry {
    tx.put(entries, entry.name, Buffer.from(JSON.stringify(entry)))
    this.#entries.set(entry.name, entry)
    return entry
  }
}
