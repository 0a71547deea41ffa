/** `structuredClone` for an isolate (HTML standard, StructuredSerialize): what JSON, Map, Set and binary data need. */

export class DataCloneError extends Error {
  override readonly name = 'DataCloneError'
  readonly code = 25
}

type Seen = Map<object, unknown>

function cloneBinary(value: object, seen: Seen): unknown {
  if (value instanceof ArrayBuffer) return value.slice(0)
  if (!ArrayBuffer.isView(value)) return undefined
  const buffer = cloneValue(value.buffer, seen) as ArrayBuffer
  if (value instanceof DataView) return new DataView(buffer, value.byteOffset, value.byteLength)
  const view = value as Uint8Array
  const Type = view.constructor as new (buffer: ArrayBuffer, offset: number, length: number) => Uint8Array
  return new Type(buffer, view.byteOffset, view.length)
}

function cloneError(error: Error): Error {
  const types: Record<string, ErrorConstructor> = {
    EvalError,
    RangeError,
    ReferenceError,
    SyntaxError,
    TypeError,
    URIError,
  }
  const copy = new (types[error.name] ?? Error)(error.message)
  Object.defineProperty(copy, 'stack', { value: error.stack, writable: true, configurable: true })
  return copy
}

function cloneContainer(value: object, seen: Seen): unknown {
  if (value instanceof Map) {
    const copy = new Map()
    seen.set(value, copy)
    for (const [key, member] of [...value]) copy.set(cloneValue(key, seen), cloneValue(member, seen))
    return copy
  }
  if (value instanceof Set) {
    const copy = new Set()
    seen.set(value, copy)
    for (const member of [...value]) copy.add(cloneValue(member, seen))
    return copy
  }
  const copy: Record<string, unknown> = Array.isArray(value) ? (new Array(value.length) as never) : {}
  seen.set(value, copy)
  for (const key of Object.keys(value))
    Object.defineProperty(copy, key, {
      value: cloneValue((value as Record<string, unknown>)[key], seen),
      writable: true,
      enumerable: true,
      configurable: true,
    })
  return copy
}

function cloneValue(value: unknown, seen: Seen): unknown {
  if (typeof value === 'function' || typeof value === 'symbol')
    throw new DataCloneError(`${String(value)} could not be cloned.`)
  if (typeof value !== 'object' || value === null) return value
  if (seen.has(value)) return seen.get(value)
  if (value instanceof Promise || value instanceof WeakMap || value instanceof WeakSet)
    throw new DataCloneError(`${Object.prototype.toString.call(value)} could not be cloned.`)
  const simple =
    value instanceof Date
      ? new Date(value.getTime())
      : value instanceof RegExp
        ? new RegExp(value.source, value.flags)
        : value instanceof Error
          ? cloneError(value)
          : value instanceof Boolean || value instanceof Number || value instanceof String
            ? Object(value.valueOf())
            : cloneBinary(value, seen)
  if (simple !== undefined) {
    seen.set(value, simple)
    return simple
  }
  return cloneContainer(value, seen)
}

export function guestStructuredClone(value: unknown): unknown {
  return cloneValue(value, new Map())
}
