/**
 * `state` of the module `fescue`: a function's own key-value store, JSON values.
 *
 *   get ──► this invocation's writes ──► cache ──► host call (first get of a key)
 *   set, delete ──► this invocation's writes ──(it succeeds)──► cache, and out with its effects
 *
 * An invocation reads what it wrote; another sees it once this one has finished. Where lanes run side by
 * side, the cache keeps nothing that was written, and what was read is listed for the version check.
 */
import { addEffect } from './effects.ts'
import type { Invocation } from './invocation.ts'
import {
  isArray,
  jsonParse,
  jsonStringify,
  mapClear,
  mapDelete,
  mapForEach,
  mapGet,
  mapHas,
  mapSet,
  mapSize,
  NativeError,
  NativeMap,
  NativeTypeError,
  promiseWithExecutor,
} from './natives.ts'

/** Keys that the cache holds; above, it is emptied between invocations. */
const cacheKeysMax = 2000
/** Characters of a key. */
export const stateKeyCharactersMax = 512
/** Keys that an invocation may read where lanes run side by side; the record counts them in 16 bits. */
export const readsMax = 10_000
/** Host calls of an invocation that may wait for their answer. */
export const hostCallsMax = 64

interface Waiting {
  readonly key: string
  readonly resolve: (value: unknown) => void
}

/** What the state needs of the trampoline. */
export interface StateHost {
  current(): Invocation
  writeRead(index: number, call: number, key: string): void
  /** How many host calls wait for their answer. */
  waiting(calls: number): void
}

export class GuestState {
  readonly #host: StateHost
  readonly #sideBySide: boolean
  readonly #cache = new NativeMap<string, string | undefined>()
  readonly #waiting = new NativeMap<number, Waiting>()
  #lastCall = 0

  constructor(host: StateHost, sideBySide: boolean) {
    this.#host = host
    this.#sideBySide = sideBySide
  }

  get outstanding(): number {
    return mapSize(this.#waiting)
  }

  async get(key: unknown): Promise<unknown> {
    const invocation = this.#host.current()
    const name = checkedKey(key)
    if (invocation.writes !== undefined && mapHas(invocation.writes, name))
      return parsed(mapGet(invocation.writes, name) as string | undefined)
    if (this.#sideBySide) {
      invocation.reads ??= new NativeMap()
      mapSet(invocation.reads, name, true)
      if (mapSize(invocation.reads) > readsMax)
        throw new NativeError(`an invocation reads at most ${readsMax} keys of state`)
    }
    if (mapHas(this.#cache, name)) return parsed(mapGet(this.#cache, name) as string | undefined)
    if (this.outstanding >= hostCallsMax)
      throw new NativeError(`more than ${hostCallsMax} host calls are waiting: await some first`)
    const call = ++this.#lastCall
    this.#host.writeRead(invocation.index, call, name)
    return promiseWithExecutor(resolve => {
      mapSet(this.#waiting, call, { key: name, resolve })
      this.#host.waiting(this.outstanding)
    })
  }

  async set(key: unknown, value: unknown): Promise<void> {
    const invocation = this.#host.current()
    const name = checkedKey(key)
    const text = jsonStringify(value)
    if (typeof text !== 'string')
      throw new NativeTypeError('state.set takes a value that JSON can hold; use state.delete')
    addEffect(invocation, { type: 'set', key: name, value: text, next: undefined }, name.length + text.length)
    this.#remember(invocation, name, text)
  }

  async delete(key: unknown): Promise<void> {
    const invocation = this.#host.current()
    const name = checkedKey(key)
    addEffect(invocation, { type: 'delete', key: name, next: undefined }, name.length)
    this.#remember(invocation, name, undefined)
  }

  #remember(invocation: Invocation, key: string, text: string | undefined): void {
    invocation.writes ??= new NativeMap()
    mapSet(invocation.writes, key, text)
  }

  /** The host's answer to a call; `text` undefined when the key is absent. */
  answer(call: number, text: string | undefined): void {
    const waiting = mapGet(this.#waiting, call) as Waiting | undefined
    if (waiting === undefined) return
    mapDelete(this.#waiting, call)
    this.#host.waiting(this.outstanding)
    mapSet(this.#cache, waiting.key, text)
    waiting.resolve(parsed(text))
  }

  /** The invocation succeeded: others see what it wrote. */
  settle(invocation: Invocation): void {
    if (this.outstanding > 0) {
      mapClear(this.#waiting)
      this.#host.waiting(0)
    }
    if (invocation.writes !== undefined)
      mapForEach(invocation.writes, (text, key) => {
        if (this.#sideBySide) mapDelete(this.#cache, key)
        else mapSet(this.#cache, key, text as string | undefined)
      })
    if (mapSize(this.#cache) > cacheKeysMax) mapClear(this.#cache)
  }

  /** Other lanes wrote these keys, or `all`. */
  forget(keys: unknown): void {
    if (!isArray(keys)) mapClear(this.#cache)
    else for (let i = 0; i < keys.length; i++) mapDelete(this.#cache, keys[i])
  }
}

function parsed(text: string | undefined): unknown {
  return text === undefined ? undefined : jsonParse(text)
}

function checkedKey(key: unknown): string {
  if (typeof key !== 'string' || key.length === 0 || key.length > stateKeyCharactersMax)
    throw new NativeTypeError(`a state key is a text of 1 to ${stateKeyCharactersMax} characters`)
  return key
}
