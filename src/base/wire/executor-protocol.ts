/**
 * The frames between the daemon and an executor: types, and bodies that are JSON.
 *
 * A frame's `id` is the number that the daemon gave to a loaded function (0: the executor itself). Creating
 * an isolate takes a round trip, because the daemon raises the process's memory limit for it:
 *
 *   daemon   load ─────►              allowCreate ─►              items ─►
 *   executor      wantCreate ───────►               loaded ─────►        records, progress … ended ─►
 */
import { WireError } from './frame.ts'

/** Types of frames that the daemon sends. */
export const toExecutor = { load: 1, unload: 2, items: 3, reply: 4, allowCreate: 5, setup: 6 } as const
/** Types of frames that the executor sends. */
export const fromExecutor = {
  ready: 16,
  wantCreate: 17,
  loaded: 18,
  broken: 19,
  records: 20,
  progress: 21,
  ended: 22,
  heap: 23,
  catastrophe: 24,
  disposed: 25,
} as const

/** Body of `setup`, the first frame of all: texts that the executor runs in isolates. */
export interface SetupBody {
  readonly guest: string
  /** An expression whose value is `Buffer`, or empty. */
  readonly buffer: string
}

/** A function as it travels; sandbox's FunctionSpec fits. */
export interface WireSpec {
  readonly name: string
  readonly revision: string
  readonly code: string
  readonly handler: string
  readonly timeoutMs: number
  readonly memoryMiB: number
  readonly concurrency: number
  readonly environment: Readonly<Record<string, string>>
  readonly payload: 'json' | 'binary'
  readonly publish: readonly string[]
  readonly seedKey: string
  readonly allow: readonly string[]
}

export interface ErrorBody {
  readonly errorType: string
  readonly errorMessage: string
  readonly trace: readonly string[]
}

/** Body of `loaded`. */
export interface LoadedBody {
  readonly coldStartMs: number
  readonly heapBytes: number
}

/** Body of `ended`: how a run ended in the executor. */
export interface EndedBody {
  readonly run: number
  readonly end:
    | { readonly kind: 'done' }
    | { readonly kind: 'failed'; readonly index: number; readonly error: ErrorBody }
    | { readonly kind: 'timeout'; readonly index: number; readonly error: ErrorBody }
    | { readonly kind: 'returned' }
    | { readonly kind: 'broken'; readonly error: ErrorBody }
}

/** Body of `progress`: where a run stands, sent when that changed. */
export interface ProgressBody {
  readonly run: number
  /** Item in the handler; the one nearest its deadline when several are. -1 while loading or between items. */
  readonly index: number
  /** Real milliseconds until the executor will dispose its isolate. */
  readonly leftMs: number
}

export function jsonBody(value: object): Buffer {
  return Buffer.from(JSON.stringify(value))
}

function parse(body: Buffer): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(body.toString())
  } catch {
    throw new WireError('a body that is not JSON')
  }
  if (typeof value !== 'object' || value === null) throw new WireError('a body that is no object')
  return value as Record<string, unknown>
}

function finite(value: unknown): number {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw new WireError('a body without a number')
  return value
}

function parseError(value: unknown): ErrorBody {
  const { errorType, errorMessage, trace } = (value ?? {}) as Record<string, unknown>
  if (typeof errorType !== 'string' || typeof errorMessage !== 'string' || !Array.isArray(trace))
    throw new WireError('an error without type, message or trace')
  return { errorType, errorMessage, trace: trace.map(String) }
}

/** Reads the body of `ended`; nothing of it is taken on trust. */
export function parseEnded(body: Buffer): EndedBody {
  const { run, end } = parse(body)
  const { kind, index, error } = (end ?? {}) as Record<string, unknown>
  switch (kind) {
    case 'done':
    case 'returned':
      return { run: finite(run), end: { kind } }
    case 'broken':
      return { run: finite(run), end: { kind, error: parseError(error) } }
    case 'failed':
    case 'timeout':
      return { run: finite(run), end: { kind, index: finite(index), error: parseError(error) } }
    default:
      throw new WireError('an end of a kind that is none')
  }
}

export function parseProgress(body: Buffer): ProgressBody {
  const { run, index, leftMs } = parse(body)
  return { run: finite(run), index: finite(index), leftMs: finite(leftMs) }
}

export function parseLoaded(body: Buffer): LoadedBody {
  const { coldStartMs, heapBytes } = parse(body)
  return { coldStartMs: finite(coldStartMs), heapBytes: finite(heapBytes) }
}

/** Body of `heap`. */
export function parseHeap(body: Buffer): number {
  return finite(parse(body).heapBytes)
}
