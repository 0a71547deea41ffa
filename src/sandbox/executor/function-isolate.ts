/**
 * One function in the executor: its isolate, the lanes in it, and the run in progress.
 *
 *   items ─► WorkQueue ─► free lane ─► entries … ─► records ─► daemon            (function-run.ts drives this)
 *                            │
 *            isolate: empty ─► loading ─► open ─► (deadline, memory, unload) ─► empty
 *
 * A failed item costs the context it ran in: a new one is made in the same isolate, so no module state
 * survives. A deadline or the memory limit costs the isolate.
 */
import type ivm from 'isolated-vm'
import type { ErrorBody, WireSpec } from '#base/wire/executor-protocol.ts'
import type { GuestSpec } from '#guest/boot.ts'
import { regionBytes } from '#guest/region.ts'
import type { GuestScript } from './guest-script.ts'
import { Lane } from './lane.ts'
import type { IsolatedVm } from './native.ts'
import { exited, syntaxError, timedOut, unhandledRejection } from './outcome.ts'

/** Milliseconds that loading a module may take (AWS Lambda's init phase). */
export const loadTimeoutMs = 10_000
/** Share of its memory that an isolate may hold when it is kept for another context. */
const reuseHeapShare = 0.5
/** Contexts after which an isolate is replaced: a released one leaves a little behind. */
const contextsMax = 500

export interface IsolateServices {
  readonly vm: IsolatedVm
  readonly guest: GuestScript
  readonly buffer: string
  /** Resolves when the process may reserve memory for one more isolate. */
  allowCreate(): Promise<void>
  /** An isolate was created (with its cold start) or disposed. */
  created(coldStartMs: number, heapBytes: number): void
  disposed(): void
  /** An isolate ran out of memory in a way that cannot be mended: the process must end. */
  catastrophe(message: string): void
  flooded(lane: Lane): void
}

interface OpenIsolate {
  readonly isolate: ivm.Isolate
  readonly guest: ivm.Script
  readonly module: ivm.Script
}

/** Outcome of making a lane ready. */
export type Opened =
  | { readonly kind: 'open'; readonly lane: Lane }
  | { readonly kind: 'broken'; readonly error: ErrorBody }
  /** The isolate was dropped meanwhile, for another reason: says nothing about the code. */
  | { readonly kind: 'gone' }

const wrapperStart = '(function (exports, require, module, __filename, __dirname) {'

export class FunctionIsolate {
  readonly #services: IsolateServices
  readonly #spec: WireSpec
  readonly #guestSpec: GuestSpec
  #isolate: ivm.Isolate | undefined
  #open: OpenIsolate | undefined
  /** When the module began to load, monotonic ms; undefined when none is loading. */
  loadingSince: number | undefined
  #loadExpired = false
  /** Memory of closed lanes: to be used again, since V8 frees what it shares with an isolate late. */
  #memories: SharedArrayBuffer[] = []
  /** Contexts made in the isolate. */
  #contexts = 0
  #closed = false

  constructor(services: IsolateServices, spec: WireSpec) {
    this.#services = services
    this.#spec = spec
    this.#guestSpec = {
      name: spec.name,
      version: spec.revision.slice(0, 12),
      handler: spec.handler,
      timeoutMs: spec.timeoutMs,
      memoryMiB: spec.memoryMiB,
      environment: spec.environment,
      payload: spec.payload,
      publish: spec.publish,
      allow: spec.allow,
      sideBySide: spec.concurrency > 1,
    }
  }

  get present(): boolean {
    return this.#open !== undefined && !this.#open.isolate.isDisposed
  }

  /** Makes a lane, and the isolate for it if there is none. */
  async openLane(): Promise<Opened> {
    const startedAt = performance.now()
    const created = !this.present
    if (created) await this.#create()
    const isolate = this.#isolate
    const gone = () => this.#isolate !== isolate && !this.#loadExpired
    if (isolate === undefined) {
      this.#services.created(0, 0)
      return { kind: 'gone' }
    }
    try {
      const opened = await this.#openIn(this.#open ?? (await this.#compile()))
      return gone() ? { kind: 'gone' } : opened
    } catch (error) {
      return gone() ? { kind: 'gone' } : this.#loadFailure(error)
    } finally {
      if (this.#isolate === isolate) this.loadingSince = undefined
      if (created) this.#services.created(performance.now() - startedAt, await this.heapBytes())
    }
  }

  /** Waits its turn, in which the function may have been unloaded: then there is no isolate. */
  async #create(): Promise<void> {
    await this.#services.allowCreate()
    const { vm } = this.#services
    if (this.#closed || this.present) return
    // One that is overwritten could be stopped by nobody.
    this.dispose()
    this.#isolate = new vm.Isolate({
      memoryLimit: Math.max(8, this.#spec.memoryMiB),
      onCatastrophicError: message => this.#services.catastrophe(message),
    })
    this.#open = undefined
    this.#contexts = 0
    this.#memories = []
  }

  async #compile(): Promise<OpenIsolate> {
    const isolate = this.#isolate
    if (isolate === undefined) throw new Error('no isolate')
    this.loadingSince = performance.now()
    this.#loadExpired = false
    const guest = await this.#services.guest.compile(isolate)
    let module: ivm.Script
    try {
      module = await isolate.compileScript(`${wrapperStart}${this.#spec.code}\n})`, {
        filename: `${this.#spec.name}/index.js`,
        columnOffset: -wrapperStart.length,
      })
    } catch (error) {
      throw new CodeDoesNotCompile(error)
    }
    this.#open = { isolate, guest, module }
    return this.#open
  }

  async #openIn(open: OpenIsolate): Promise<Opened> {
    this.loadingSince ??= performance.now()
    const lane: Lane = new Lane({
      vm: this.#services.vm,
      ...open,
      spec: this.#guestSpec,
      seedKey: this.#spec.seedKey,
      buffer: this.#services.buffer,
      memory: this.#memories.pop() ?? new SharedArrayBuffer(regionBytes),
      released: memory => this.#memories.push(memory),
      flooded: () => this.#services.flooded(lane),
    })
    this.#contexts++
    const problem = await lane.open()
    return problem === undefined ? { kind: 'open', lane } : { kind: 'broken', error: JSON.parse(problem) }
  }

  #loadFailure(error: unknown): Opened {
    const failure = (body: ErrorBody): Opened => ({ kind: 'broken', error: body })
    if (error instanceof CodeDoesNotCompile) return failure(syntaxError(error.cause))
    if (this.#loadExpired) return failure(timedOut('init', loadTimeoutMs))
    const message = error instanceof Error ? error.message : String(error)
    if (message.includes('memory limit')) return failure(exited('init', 'signal: killed'))
    return failure(unhandledRejection(error))
  }

  /** Ends the load when it takes too long; gives what is left of its time, which `standsStillMs` do not use. */
  watchLoad(now: number, standsStillMs: number): number | undefined {
    if (this.loadingSince === undefined) return undefined
    this.loadingSince += standsStillMs
    const leftMs = loadTimeoutMs - (now - this.loadingSince)
    if (leftMs <= 0 && !this.#loadExpired) {
      this.#loadExpired = true
      this.dispose()
    }
    return leftMs
  }

  /** Whether the isolate may hold another context: it is not worn, and enough of its memory is free. */
  async reusable(): Promise<boolean> {
    return (
      this.present &&
      this.#contexts < contextsMax &&
      (await this.heapBytes()) < this.#spec.memoryMiB * 1_048_576 * reuseHeapShare
    )
  }

  /** V8's heap and array buffers; 0 when there is no isolate. */
  async heapBytes(): Promise<number> {
    if (!this.present || this.#open === undefined) return 0
    try {
      const heap = await this.#open.isolate.getHeapStatistics()
      return heap.used_heap_size + heap.externally_allocated_size
    } catch {
      return 0
    }
  }

  dispose(): void {
    const isolate = this.#isolate
    this.#isolate = undefined
    this.#open = undefined
    this.loadingSince = undefined
    if (isolate === undefined) return
    if (!isolate.isDisposed) isolate.dispose()
    this.#services.disposed()
  }

  /** Drops the isolate for good: one whose creation waits its turn is not made. */
  close(): void {
    this.#closed = true
    this.dispose()
  }
}

class CodeDoesNotCompile extends Error {
  constructor(cause: unknown) {
    super('the code does not compile', { cause })
  }
}
