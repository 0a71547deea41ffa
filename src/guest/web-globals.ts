/**
 * The rest of what a function expects to find: web APIs and the little of Node that libraries for Lambda use.
 *
 * Each is made when it is first touched, so that a function pays for what it uses.
 */
import { GuestTextDecoder, GuestTextEncoder, guestAtob, guestBtoa } from './encodings.ts'
import { GuestAbortController, GuestAbortSignal, GuestEvent, GuestEventTarget } from './events.ts'
import { microtask } from './guest-timers.ts'
import { GuestUrlSearchParams, makeUrlClass, type ParseUrl } from './guest-url.ts'
import { objectDefineProperty, reflectApply } from './natives.ts'
import type { RecordedClock } from './recorded-clock.ts'
import { guestStructuredClone } from './structured-clone.ts'

/** Defines a global that is made on first use; assigning replaces it. */
function lazy(name: string, make: () => unknown): void {
  const settle = (value: unknown): void => {
    objectDefineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false })
  }
  objectDefineProperty(globalThis, name, {
    configurable: true,
    enumerable: false,
    get() {
      const value = make()
      settle(value)
      return value
    },
    set: settle,
  })
}

function named(value: object, name: string): object {
  objectDefineProperty(value, 'name', { value: name, configurable: true })
  return value
}

export function installWebGlobals(parseUrl: ParseUrl, loadBuffer: () => unknown): void {
  lazy('URL', () => makeUrlClass(parseUrl))
  lazy('URLSearchParams', () => named(GuestUrlSearchParams, 'URLSearchParams'))
  lazy('TextEncoder', () => named(GuestTextEncoder, 'TextEncoder'))
  lazy('TextDecoder', () => named(GuestTextDecoder, 'TextDecoder'))
  lazy('structuredClone', () => named(guestStructuredClone, 'structuredClone'))
  lazy('atob', () => named(guestAtob, 'atob'))
  lazy('btoa', () => named(guestBtoa, 'btoa'))
  lazy('Event', () => named(GuestEvent, 'Event'))
  lazy('EventTarget', () => named(GuestEventTarget, 'EventTarget'))
  lazy('AbortController', () => named(GuestAbortController, 'AbortController'))
  lazy('AbortSignal', () => named(GuestAbortSignal, 'AbortSignal'))
  lazy('Buffer', loadBuffer)
  lazy('global', () => globalThis)
}

/** `process` as far as libraries look at it. `exit` ends the invocation. */
export function installProcess(
  environment: Readonly<Record<string, string>>,
  clock: RecordedClock,
  exit: (code: number) => void,
): void {
  const hrtime = (since?: [number, number]): [number, number] => {
    const ms = clock.now - clock.origin
    const [seconds, nanoseconds] = [Math.floor(ms / 1000), (ms % 1000) * 1e6]
    if (since === undefined) return [seconds, nanoseconds]
    const borrow = nanoseconds < since[1] ? 1 : 0
    return [seconds - since[0] - borrow, nanoseconds - since[1] + borrow * 1e9]
  }
  hrtime.bigint = () => BigInt(clock.now - clock.origin) * 1_000_000n
  const nothing = (): void => {}
  const process = {
    env: { ...environment },
    argv: ['node'],
    platform: 'linux',
    version: 'v24.0.0',
    versions: { node: '24.0.0' },
    pid: 1,
    cwd: () => '/',
    uptime: () => (clock.now - clock.origin) / 1000,
    hrtime,
    nextTick: (callback: (...args: unknown[]) => void, ...args: unknown[]) =>
      microtask(() => reflectApply(callback, undefined, args)),
    emitWarning: (warning: unknown) => console.warn(warning),
    on: nothing,
    once: nothing,
    off: nothing,
    exit,
  }
  objectDefineProperty(globalThis, 'process', { value: process, writable: true, configurable: true })
}
