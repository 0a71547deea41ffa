/**
 * The sandbox as the invoker sees it: load a function, run batches, hear of each message's outcome.
 *
 *   invoker ── run(batch) ──► supervisor ══ frames over fd 3 ══► executor ──► isolate (trampoline, handler)
 *           ◄─ started/result/ended ─┘                                │
 *           ◄─ state reads (host calls) ──────────────────────────────┘
 *
 * It knows no MQTT and no disk. isolated-vm is hidden behind the executor; no user object crosses (D5).
 * Effects are data: the invoker commits them with the checkpoint (D2). This interface is the whole of what
 * an engine must offer, so that it can be replaced.
 */
import type { InvocationId } from '#base/ids.ts'

export type PayloadFormat = 'json' | 'binary'

/** A function as the executor loads it. Immutable: another revision is another spec. */
export interface FunctionSpec {
  readonly name: string
  /** SHA-256 of bundle and manifest, hex. */
  readonly revision: string
  /** One CommonJS text; `require` inside answers only `fescue`. */
  readonly code: string
  /** `index.handler`: the export is what follows the first dot; `index.a.b` is an export within an export. */
  readonly handler: string
  readonly timeoutMs: number
  readonly memoryMiB: number
  /** Time without a batch after which its isolate is dropped; the engine's own by default. */
  readonly idleMs?: number
  /** Messages that may be in the handler at once. */
  readonly concurrency: number
  readonly environment: Readonly<Record<string, string>>
  readonly payload: PayloadFormat
  /** IANA name; UTC by default. */
  readonly timeZone: string
  /** Topic filters it may publish to; checked inside for the message, and again by the invoker. */
  readonly publish: readonly string[]
  /** `process`: an executor of its own. */
  readonly isolation: 'shared' | 'process'
  /** Key for its random seeds: HMAC(device secret, name), 32 bytes hex. */
  readonly seedKey: string
  /** Names that are absent unless asked for: `wasm`, `sharedMemory`, `weakRefs`. */
  readonly allow: readonly string[]
}

/** One message for a handler. */
export interface BatchItem {
  readonly invocationId: InvocationId
  /** 1 for the first try. */
  readonly attempt: number
  readonly topic: string
  readonly payload: Buffer
  /** The message's own time, ms since the epoch (`context.time`). */
  readonly time: number
  readonly qos: number
  readonly retain: boolean
  /** With concurrency: items of one key run one after the other. */
  readonly orderKey: string
}

export type Effect =
  | {
      readonly type: 'publish'
      readonly topic: string
      readonly payload: Buffer
      readonly qos: 0 | 1 | 2
      readonly retain: boolean
    }
  | { readonly type: 'set'; readonly key: string; readonly value: string }
  | { readonly type: 'delete'; readonly key: string }

/** The error document of AWS Lambda's Node runtime. */
export interface ErrorDocument {
  readonly errorType: string
  readonly errorMessage: string
  readonly trace: readonly string[]
}

export interface Success {
  /** JSON text of what the handler returned; `null` when it returned nothing. */
  readonly value: string
  readonly effects: readonly Effect[]
  /** Real milliseconds inside the handler. */
  readonly durationMs: number
  /** Recorded clock at the start of the handler (D8). */
  readonly startedAt: number
}

/** One line that the function wrote. */
export interface LogLine {
  readonly invocationId: InvocationId
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  readonly text: string
}

/**
 * How a batch ended. The items without a result were not run, or their run does not count: they go back to
 * the inbox with no attempt used, except `index` of `failed` and `timeout`, which is charged.
 *  - done: every item has a result.
 *  - failed: item `index` threw or returned what JSON cannot hold.
 *  - timeout: item `index` passed its deadline.
 *  - returned: nothing is charged (a neighbour killed the executor, or it was recycled): run again.
 *  - killed: the function brought its executor down. `index` is given when that record has done so before: it
 *    is to blame and becomes a dead letter. Without `index` the batch runs again (alone, one message at a
 *    time), unless `stats` says `disabled`, with the reason.
 *  - broken: the code does not load (syntax, missing handler, throws at load).
 */
export type BatchEnd =
  | { readonly kind: 'done' }
  | { readonly kind: 'failed'; readonly index: number; readonly error: ErrorDocument }
  | { readonly kind: 'timeout'; readonly index: number; readonly error: ErrorDocument }
  | { readonly kind: 'returned' }
  | { readonly kind: 'killed'; readonly index: number | undefined; readonly error: ErrorDocument }
  | { readonly kind: 'broken'; readonly error: ErrorDocument }

/** What the invoker offers to a running batch. All calls come in order; `ended` is the last. */
export interface BatchSink {
  result(index: number, success: Success): void
  ended(end: BatchEnd): void
  log(line: LogLine): void
  /**
   * Reads state as committed or staged so far by this function; undefined when absent. JSON text. With
   * concurrency the engine checks versions: a result never rests on a value that another result changed since.
   */
  readState(key: string): Promise<string | undefined>
}

export interface FunctionStats {
  readonly name: string
  readonly state: 'unloaded' | 'loading' | 'ready' | 'running' | 'probing' | 'disabled'
  /** Why it is disabled. */
  readonly reason: string | undefined
  readonly executorPid: number | undefined
  readonly heapBytes: number
  readonly coldStartMs: number | undefined
}

export interface Sandbox extends AsyncDisposable {
  /** Makes the spec the current one of its name; a running batch ends under the old one. */
  load(spec: FunctionSpec): void
  /**
   * Drops the isolate; batches in flight come back as `returned`. Also the way to make a function read its
   * state anew: an isolate remembers what results, streamed but perhaps not committed, have set.
   */
  unload(name: string): void
  /**
   * Runs items in order (or by key, with concurrency). One batch of a function at a time: calling again
   * before `ended` is a defect. Items per batch: at most `batchItemsMax`.
   */
  run(name: string, items: readonly BatchItem[], sink: BatchSink): void
  /** Starts the executors that loaded functions share, so that their first message need not wait for one. */
  prepare(): void
  stats(): readonly FunctionStats[]
  /** Ends all executors at once: in-flight batches come back as `returned`. */
  [Symbol.asyncDispose](): Promise<void>
}

/** Messages in one frame to an isolate. */
export const batchItemsMax = 256
