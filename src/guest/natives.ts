/**
 * The built-ins that the trampoline works with, taken before any code of the function runs.
 *
 * A function may replace whatever it finds (`Promise.prototype.then`, `JSON`, `Array.prototype`): it then
 * breaks itself, never the credits that the trampoline keeps nor the results of others (D5). So code that
 * runs after boot calls these and indexes its own arrays; it never calls a method through a prototype that the
 * function can reach, and it avoids `for … of` and spread.
 */

/** Turns a method into a function whose first argument is `this`. */
function uncurryThis<This, Args extends unknown[], Result>(
  method: (this: This, ...args: Args) => Result,
): (self: This, ...args: Args) => Result {
  return Function.prototype.call.bind(method) as (self: This, ...args: Args) => Result
}

export const reflectApply = Reflect.apply
export const reflectConstruct = Reflect.construct
export const objectCreate = Object.create
export const objectDefineProperty = Object.defineProperty
export const objectKeys = Object.keys
export const isArray = Array.isArray
export const jsonParse = JSON.parse
export const jsonStringify = JSON.stringify
export const toText = String
export const promiseThen = uncurryThis(
  Promise.prototype.then as (
    this: Promise<unknown>,
    ok: (value: unknown) => void,
    failed: (error: unknown) => void,
  ) => Promise<unknown>,
)
const NativePromise = Promise
const nativeResolve = Promise.resolve
export function promiseResolve(value: unknown): Promise<unknown> {
  return reflectApply(nativeResolve, NativePromise, [value])
}
export function promiseWithExecutor<T>(
  executor: (resolve: (value: T) => void, reject: (error: unknown) => void) => void,
): Promise<T> {
  return new NativePromise(executor)
}
export const charCodeAt = uncurryThis(String.prototype.charCodeAt)
export const stringSlice = uncurryThis(String.prototype.slice)
export const stringSplit = uncurryThis(
  String.prototype.split as (this: string, separator: string, limit?: number) => string[],
)
export const stringIncludes = uncurryThis(String.prototype.includes)
export const regexpExec = uncurryThis(RegExp.prototype.exec)
export const NativeMap = Map
export const mapGet = uncurryThis(Map.prototype.get)
export const mapSet = uncurryThis(Map.prototype.set)
export const mapHas = uncurryThis(Map.prototype.has)
export const mapDelete = uncurryThis(Map.prototype.delete)
export const mapClear = uncurryThis(Map.prototype.clear)
export const mapForEach = uncurryThis(
  Map.prototype.forEach as (
    this: Map<unknown, unknown>,
    each: (value: unknown, key: unknown) => void,
  ) => void,
)
export const mapSize = uncurryThis(
  Object.getOwnPropertyDescriptor(Map.prototype, 'size')?.get as (this: Map<unknown, unknown>) => number,
)
export const NativeDate = Date
/** Real milliseconds since the epoch: for deadlines and for moving the recorded clock, never shown as such. */
export const realNow: () => number = Date.now
export const NativeUint8Array = Uint8Array
export const NativeFloat64Array = Float64Array
export const NativeArrayBuffer = ArrayBuffer
export const isView = ArrayBuffer.isView
export const floor = Math.floor
export const bufferSlice = uncurryThis(ArrayBuffer.prototype.slice)
export const NativeError = Error
export const NativeTypeError = TypeError
export const NativeRangeError = RangeError
export const isError: (value: unknown) => boolean = (Error as unknown as { isError(value: unknown): boolean })
  .isError

/** A copy of `text` that does not keep a longer string alive from which it was cut: an internalised key. */
export function flatCopy(text: string): string {
  const holder = objectCreate(null) as Record<string, number>
  holder[text] = 0
  return objectKeys(holder)[0] ?? text
}
