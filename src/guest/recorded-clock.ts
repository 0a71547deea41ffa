/**
 * The clock that a function sees (D8). It moves only at recorded events: the start of a handler, the return of a
 * host call, the firing of a timer.
 *
 * `Date`, `Intl.DateTimeFormat` and `performance` read it; the native constructor cannot be reached, since
 * `Date.prototype.constructor` is the replacement as well. The time zone is the process's own (an executor runs
 * one zone).
 */
import { NativeDate, objectDefineProperty, realNow, reflectApply, reflectConstruct } from './natives.ts'

export class RecordedClock {
  /** Milliseconds since the epoch. */
  now: number = realNow()
  readonly origin: number = this.now

  /** A handler starts: the clock takes real time, also back when the system clock was set. */
  begin(): number {
    this.now = realNow()
    return this.now
  }

  /** Another recorded event: within an invocation the clock does not go back. */
  move(): number {
    const real = realNow()
    if (real > this.now) this.now = real
    return this.now
  }
}

/** Replaces the global clock readers by ones of `clock`. */
export function installClock(clock: RecordedClock): void {
  installDate(clock)
  installDateTimeFormat(clock)
  const performance = {
    now: () => clock.now - clock.origin,
    timeOrigin: clock.origin,
    toJSON: () => ({ timeOrigin: clock.origin }),
  }
  define(globalThis, 'performance', performance)
}

function define(target: object, name: string, value: unknown): void {
  objectDefineProperty(target, name, { value, writable: true, configurable: true, enumerable: false })
}

function installDate(clock: RecordedClock): void {
  const nativeToString = NativeDate.prototype.toString
  const RecordedDate = function (...args: unknown[]): Date | string {
    // Called without `new`, Date gives the time as text and ignores its arguments.
    if (new.target === undefined)
      return reflectApply(nativeToString, reflectConstruct(NativeDate, [clock.now]), [])
    return reflectConstruct(NativeDate, args.length === 0 ? [clock.now] : args, new.target)
  }
  define(RecordedDate, 'now', function now() {
    return clock.now
  })
  define(RecordedDate, 'parse', NativeDate.parse)
  define(RecordedDate, 'UTC', NativeDate.UTC)
  objectDefineProperty(RecordedDate, 'name', { value: 'Date', configurable: true })
  objectDefineProperty(RecordedDate, 'length', { value: 7, configurable: true })
  objectDefineProperty(RecordedDate, 'prototype', { value: NativeDate.prototype, writable: false })
  define(NativeDate.prototype, 'constructor', RecordedDate)
  define(globalThis, 'Date', RecordedDate)
}

function installDateTimeFormat(clock: RecordedClock): void {
  const { prototype } = Intl.DateTimeFormat
  const formatGetter = Object.getOwnPropertyDescriptor(prototype, 'format')?.get
  const nativeParts = prototype.formatToParts
  if (formatGetter === undefined) return
  objectDefineProperty(prototype, 'format', {
    configurable: true,
    get(this: Intl.DateTimeFormat) {
      const format = reflectApply(formatGetter, this, [])
      return (date?: Date | number) => format(date === undefined ? clock.now : date)
    },
  })
  define(prototype, 'formatToParts', function formatToParts(this: Intl.DateTimeFormat, date?: Date | number) {
    return reflectApply(nativeParts, this, [date === undefined ? clock.now : date])
  })
}
