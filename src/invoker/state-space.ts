/**
 * The state of one function: documents `NAME/KEY` in space `state`, JSON texts.
 *
 *   readState(key) ─► written since the last commit? ─► recently used? ─► store (pending writes are seen)
 *   result(effects) ─► apply: into the caller's transaction and into memory, so that the next message sees it
 *
 * Only sizes of the keys are in memory, and values up to `cachedMaxBytes`. D2: what is applied stands in the
 * transaction that holds the invocation's checkpoint. D6: keys, values and the whole are bounded.
 */
import type { ErrorCode } from '#base/errors.ts'
import type { Effect } from '#sandbox/sandbox.ts'
import type { Store } from '#store/store.ts'
import type { Transaction } from '#store/transaction.ts'

const space = 'state'
/** Bounds of one function's state. */
export const stateKeysMax = 10_000
export const stateMaxBytes = 16 * 1024 * 1024
export const stateKeyMaxChars = 512
export const stateValueMaxBytes = 256 * 1024
/** Characters of values kept in memory. */
const cachedMaxChars = 512 * 1024

export interface StateProblem {
  readonly code: ErrorCode
  readonly message: string
}

export class StateSpace {
  readonly #store: Store
  readonly #prefix: string
  /** Bytes of each key's value. */
  readonly #sizes = new Map<string, number>()
  /** Recently used values, least recently used first. */
  readonly #cache = new Map<string, string>()
  /** Written since the last `committed`: the store cannot know these yet. */
  readonly #staged = new Map<string, string | undefined>()
  #bytes = 0
  #cachedChars = 0

  private constructor(store: Store, name: string) {
    this.#store = store
    this.#prefix = `${name}/`
  }

  static async open(store: Store, name: string): Promise<StateSpace> {
    const state = new StateSpace(store, name)
    for await (const { key, value } of store.list(space, state.#prefix))
      state.#resize(key.slice(state.#prefix.length), value.length)
    return state
  }

  get keys(): number {
    return this.#sizes.size
  }

  get bytes(): number {
    return this.#bytes
  }

  /** The value with all effects applied so far; undefined when absent. */
  async read(key: string): Promise<string | undefined> {
    if (this.#staged.has(key)) return this.#staged.get(key)
    const cached = this.#cache.get(key)
    if (cached !== undefined) {
      this.#cache.delete(key)
      this.#cache.set(key, cached)
      return cached
    }
    if (!this.#sizes.has(key)) return undefined
    const value = (await this.#store.get(space, this.#prefix + key))?.toString()
    // A write that came meanwhile is newer than what was read.
    if (value !== undefined && !this.#staged.has(key) && !this.#cache.has(key)) this.#keep(key, value)
    return value
  }

  /** What forbids these effects, or undefined. To be asked before `apply`. */
  problemOf(effects: readonly Effect[]): StateProblem | undefined {
    /** Bytes of each key after the effects; undefined when it is deleted. */
    const after = new Map<string, number | undefined>()
    for (const effect of effects) {
      if (effect.type === 'delete') after.set(effect.key, undefined)
      if (effect.type !== 'set') continue
      if (effect.key.length > stateKeyMaxChars)
        return problem(
          `a state key has ${effect.key.length} characters, at most ${stateKeyMaxChars} are allowed`,
        )
      const bytes = Buffer.byteLength(effect.value)
      if (bytes > stateValueMaxBytes)
        return problem(`state "${effect.key}" has ${bytes} bytes, at most ${stateValueMaxBytes} are allowed`)
      after.set(effect.key, bytes)
    }
    let addedBytes = 0
    let addedKeys = 0
    for (const [key, bytes] of after) {
      const before = this.#sizes.get(key)
      addedBytes += (bytes ?? 0) - (before ?? 0)
      addedKeys += (bytes === undefined ? 0 : 1) - (before === undefined ? 0 : 1)
    }
    if (addedBytes > 0 && this.#bytes + addedBytes > stateMaxBytes)
      return problem(`the state exceeds ${stateMaxBytes} bytes: delete what is no longer needed`)
    if (addedKeys > 0 && this.#sizes.size + addedKeys > stateKeysMax)
      return problem(`the state exceeds ${stateKeysMax} keys: delete what is no longer needed`)
    return undefined
  }

  /** Puts the sets and deletes into the transaction; they are seen by `read` from now on. */
  apply(tx: Transaction, effect: Exclude<Effect, { type: 'publish' }>): void {
    const { key } = effect
    this.#forget(key)
    if (effect.type === 'delete') {
      tx.delete(space, this.#prefix + key)
      this.#staged.set(key, undefined)
      this.#resize(key, undefined)
      return
    }
    const value = Buffer.from(effect.value)
    tx.put(space, this.#prefix + key, value)
    this.#staged.set(key, effect.value)
    this.#resize(key, value.length)
    this.#keep(key, effect.value)
  }

  /** The most recently used values, up to `maxChars` of keys and values: the state that a run found. */
  recent(maxChars: number): Record<string, string> {
    const found: Record<string, string> = {}
    let chars = 0
    for (const [key, value] of [...this.#cache].reverse()) {
      chars += key.length + value.length
      if (chars > maxChars) break
      found[key] = value
    }
    return found
  }

  /** Everything applied so far was handed to the store. */
  committed(): void {
    this.#staged.clear()
  }

  /** Stages the deletion of all keys. */
  clear(tx: Transaction): void {
    for (const key of [...this.#sizes.keys()]) this.apply(tx, { type: 'delete', key })
  }

  #resize(key: string, bytes: number | undefined): void {
    this.#bytes += (bytes ?? 0) - (this.#sizes.get(key) ?? 0)
    if (bytes === undefined) this.#sizes.delete(key)
    else this.#sizes.set(key, bytes)
  }

  #keep(key: string, value: string): void {
    this.#cache.set(key, value)
    this.#cachedChars += value.length
    for (const [oldest] of this.#cache) {
      if (this.#cachedChars <= cachedMaxChars) return
      this.#forget(oldest)
    }
  }

  #forget(key: string): void {
    const value = this.#cache.get(key)
    if (value === undefined) return
    this.#cache.delete(key)
    this.#cachedChars -= value.length
  }
}

function problem(message: string): StateProblem {
  return { code: 'FESCUE_STATE_FULL', message }
}
