/**
 * Reads documents, checkpoints and timers: what is pending first, then the disk, with the checksum.
 *
 * A value that fails its check is put aside under a key of its own (never deleted), counted in the ledger
 * once, and read as absent from then on.
 */
import { FescueError } from '#base/errors.ts'
import type { Backend } from './backend.ts'
import { prefixEnd } from './keys.ts'
import { unseal } from './values.ts'
import type { Writer } from './writer.ts'

/** Documents fetched in one look of `list`. */
const listLook = 256
/** Keys that cannot be read and are remembered as told. */
const unreadableMax = 1_024

export class ValueReader {
  readonly #backend: Backend
  readonly #writer: Writer
  readonly #unreadable = new Set<string>()
  readonly #onDamaged: (key: string, raw: Buffer) => void

  constructor(backend: Backend, writer: Writer, onDamaged: (key: string, raw: Buffer) => void) {
    this.#backend = backend
    this.#writer = writer
    this.#onDamaged = onDamaged
  }

  async get(key: string): Promise<Buffer | undefined> {
    for (const batch of this.#writer.pending()) if (batch.values.has(key)) return batch.values.get(key)
    const raw = await this.#backend.get(Buffer.from(key))
    if (raw === undefined) return undefined
    const value = unseal(key, raw)
    if (value === undefined) this.#damaged(key, raw)
    return value
  }

  /** Values whose key starts with `prefix + more`, in key order, keys without `prefix`. */
  async *list(prefix: string, more: string): AsyncGenerator<{ key: string; value: Buffer }> {
    await this.#writer.flushed()
    let gte = Buffer.from(prefix + more)
    const lt = prefixEnd(prefix + more)
    for (;;) {
      const entries = await this.#backend.range({ gte, lt, limit: listLook })
      for (const [raw, sealed] of entries) {
        const key = raw.toString()
        const value = unseal(key, sealed)
        if (value === undefined) this.#damaged(key, sealed)
        else yield { key: key.slice(prefix.length), value }
      }
      const last = entries.at(-1)
      if (last === undefined) return
      gte = Buffer.concat([last[0], Buffer.of(0)])
    }
  }

  /** Unreadable (no bytes at all): the disk may give it back one day, so it stays; told once in a run. */
  #damaged(key: string, raw: Buffer): void {
    if (raw.length === 0) {
      if (this.#unreadable.has(key) || this.#unreadable.size >= unreadableMax) return
      this.#unreadable.add(key)
    }
    for (const batch of this.#writer.pending()) if (batch.values.has(key)) return
    this.#onDamaged(key, raw)
  }
}

/** Names come into text keys, where NUL divides. */
export function checkSpace(space: string): void {
  if (space.includes('\0'))
    throw new FescueError('FESCUE_NAME_INVALID', `document space "${space}" holds a NUL`)
}
