/**
 * setTimeout and its kin inside an isolate.
 *
 * Timers live here; the executor learns only when the next one is due (`wakeByte`), so that setting and clearing in a
 * loop costs it nothing (D6). A timer belongs to the invocation that set it: what is pending when the
 * invocation ends is cleared, since its effects are committed by then and nothing may be added to them.
 */
import {
  mapClear,
  mapDelete,
  mapForEach,
  mapGet,
  mapSet,
  mapSize,
  NativeMap,
  NativeRangeError,
  NativeTypeError,
  reflectApply,
} from './natives.ts'
import type { RecordedClock } from './recorded-clock.ts'

/** Timers that an invocation may have pending. */
export const timersMax = 1000
const delayMaxMs = 2 ** 31 - 1

interface Timer {
  readonly id: number
  readonly callback: (...args: unknown[]) => unknown
  readonly args: unknown[]
  readonly repeatMs: number | undefined
  dueAt: number
}

export class GuestTimers {
  readonly #clock: RecordedClock
  /** Where the host reads when the next timer is due: real ms since the epoch, Infinity for never. */
  readonly #wake: Float64Array
  readonly #timers = new NativeMap<number, Timer>()
  #lastId = 0

  constructor(clock: RecordedClock, wake: Float64Array) {
    this.#clock = clock
    this.#wake = wake
    wake[0] = Infinity
  }

  get pending(): number {
    return mapSize(this.#timers)
  }

  #dueAt(at: number): void {
    if (at < (this.#wake[0] ?? 0)) this.#wake[0] = at
  }

  #findNext(): void {
    this.#wake[0] = Infinity
    mapForEach(this.#timers, timer => this.#dueAt((timer as Timer).dueAt))
  }

  set(callback: unknown, delay: unknown, args: unknown[], repeat: boolean): number {
    if (typeof callback !== 'function') throw new NativeTypeError('a timer takes a function')
    if (this.pending >= timersMax) throw new NativeRangeError(`more than ${timersMax} timers are pending`)
    const asked = Number(delay)
    const delayMs = asked >= 1 && asked <= delayMaxMs ? asked : 1
    const id = ++this.#lastId
    const timer: Timer = {
      id,
      callback: callback as Timer['callback'],
      args,
      repeatMs: repeat ? delayMs : undefined,
      dueAt: this.#clock.now + delayMs,
    }
    mapSet(this.#timers, id, timer)
    this.#dueAt(timer.dueAt)
    return id
  }

  /** Like setImmediate: due at once. */
  setImmediate(callback: unknown, args: unknown[]): number {
    const id = this.set(callback, 1, args, false)
    const timer = mapGet(this.#timers, id) as Timer
    timer.dueAt = 0
    this.#dueAt(0)
    return id
  }

  /** The host may still wake the isolate for it; then nothing is due. */
  clear(id: unknown): void {
    mapDelete(this.#timers, typeof id === 'number' ? id : Number(id))
  }

  clearAll(): void {
    if (this.pending > 0) mapClear(this.#timers)
    this.#wake[0] = Infinity
  }

  /** Runs the timer that is due first; false when none is. */
  fireOne(realTime: number): boolean {
    let first: Timer | undefined
    mapForEach(this.#timers, value => {
      const timer = value as Timer
      if (timer.dueAt <= realTime && (first === undefined || timer.dueAt < first.dueAt)) first = timer
    })
    if (first === undefined) {
      this.#findNext()
      return false
    }
    if (first.repeatMs === undefined) mapDelete(this.#timers, first.id)
    else first.dueAt = realTime + first.repeatMs
    reflectApply(first.callback, undefined, first.args)
    return true
  }
}

/** Installs the timer functions and `queueMicrotask`. */
export function installTimers(timers: GuestTimers): void {
  const clear = (id: unknown) => timers.clear(id)
  const all: Record<string, unknown> = {
    setTimeout: (callback: unknown, delay?: unknown, ...args: unknown[]) =>
      timers.set(callback, delay, args, false),
    setInterval: (callback: unknown, delay?: unknown, ...args: unknown[]) =>
      timers.set(callback, delay, args, true),
    setImmediate: (callback: unknown, ...args: unknown[]) => timers.setImmediate(callback, args),
    clearTimeout: clear,
    clearInterval: clear,
    clearImmediate: clear,
    queueMicrotask: microtask,
  }
  for (const name of Object.keys(all))
    Object.defineProperty(globalThis, name, { value: all[name], writable: true, configurable: true })
}

/** A throw in a microtask is an unhandled rejection: the invocation fails with it. */
export function microtask(callback: () => void): void {
  if (typeof callback !== 'function') throw new NativeTypeError('queueMicrotask takes a function')
  void (async () => {
    await undefined
    callback()
  })()
}
