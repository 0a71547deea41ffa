/**
 * A function as the supervisor knows it: its spec, where it runs, its batch, and what it is blamed for.
 *
 *   unloaded ──start──► in an executor (ready) ──run──► running ──► ready ──idle──► unloaded
 *        ▲                       executor dies: charged · suspected · gone ──┘
 *
 * Its place follows from its spec and its blame: shared by time zone, its own, or a probe.
 */
import type { Clock } from '#base/clock.ts'
import type { Logger } from '#base/logger.ts'
import type { EndedBody } from '#base/wire/executor-protocol.ts'
import { BatchRun } from './batch-run.ts'
import { Blame } from './blame.ts'
import type { Death, ExecutorProcess } from './executor-process.ts'
import type { BatchEnd, BatchItem, BatchSink, ErrorDocument, FunctionSpec, FunctionStats } from './sandbox.ts'

export type Place = `shared ${string}` | `own ${string}` | `probe ${string}`

export interface HostedParts {
  readonly clock: Clock
  readonly logger: Logger
  readonly idleMs: number
  /** The executor at the function's place; undefined when it must wait: `start` is called then. */
  executor(hosted: HostedFunction): ExecutorProcess | undefined
  /** A number that no loaded function has had. */
  nextNumber(): number
  /** The function no longer uses the executor at this place. */
  left(place: Place): void
}

type Where =
  | { readonly kind: 'unloaded' }
  | {
      readonly kind: 'loaded'
      readonly executor: ExecutorProcess
      readonly place: Place
      readonly number: number
    }

export class HostedFunction {
  readonly name: string
  readonly #parts: HostedParts
  #spec: FunctionSpec
  #nextSpec: FunctionSpec | undefined
  #where: Where = { kind: 'unloaded' }
  #run: BatchRun | undefined
  #blame = new Blame()
  #runs = 0
  #coldStartMs: number | undefined
  #heapBytes = 0
  #cancelIdle: (() => void) | undefined

  constructor(spec: FunctionSpec, parts: HostedParts) {
    this.name = spec.name
    this.#spec = spec
    this.#parts = parts
  }

  get timeZone(): string {
    return this.#spec.timeZone
  }

  get running(): boolean {
    return this.#run !== undefined
  }

  /** Its number in the executor that it is loaded in. */
  get number(): number | undefined {
    return this.#where.kind === 'loaded' ? this.#where.number : undefined
  }

  isIn(executor: ExecutorProcess): boolean {
    return this.#where.kind === 'loaded' && this.#where.executor === executor
  }

  place(): Place {
    if (this.#spec.isolation === 'process' || this.#blame.charged) return `own ${this.name}`
    return this.#blame.probing ? `probe ${this.name}` : `shared ${this.#spec.timeZone}`
  }

  /** Another spec: it counts from the next batch on, with a clean slate. */
  replace(spec: FunctionSpec): void {
    if (this.#run !== undefined) this.#nextSpec = spec
    else this.#become(spec)
  }

  #become(spec: FunctionSpec): void {
    this.#nextSpec = undefined
    this.#unload()
    this.#spec = spec
    this.#blame = new Blame()
  }

  run(items: readonly BatchItem[], sink: BatchSink): void {
    if (this.#run !== undefined) throw new Error(`function "${this.name}" has a batch already`)
    this.#cancelIdle?.()
    this.#run = new BatchRun(++this.#runs, this.#spec, items, sink, this.#blame.probing)
    // The end never comes before `run` returns, so that callers need not expect it.
    queueMicrotask(() => this.start())
  }

  /** Brings the batch to an executor as soon as there is one. */
  start(): void {
    const run = this.#run
    if (run === undefined) return
    const { disabled } = this.#blame
    if (disabled !== undefined) {
      this.#end({ kind: 'killed', index: undefined, error: exitError(disabled) })
      return
    }
    if (run.nothingToSend) {
      this.#end(run.tooLarge)
      return
    }
    // One that is being ended takes no more: what was sent to it would only come back.
    const where = this.#where
    if (where.kind === 'loaded' && (!where.executor.alive || where.place !== this.place())) this.#unload()
    if (this.#where.kind === 'unloaded') this.#load()
    if (this.#where.kind === 'loaded') this.#where.executor.run(this.#where.number, run)
  }

  #load(): void {
    const executor = this.#parts.executor(this)
    if (executor === undefined) return
    const number = this.#parts.nextNumber()
    this.#where = { kind: 'loaded', executor, place: this.place(), number }
    executor.load(number, this.#spec, {
      loaded: body => {
        this.#coldStartMs = body.coldStartMs
        this.#heapBytes = body.heapBytes
      },
      heap: bytes => {
        this.#heapBytes = bytes
      },
      ended: body => this.#runEnded(body),
    })
  }

  #runEnded(body: EndedBody): void {
    if (this.#run?.number !== body.run) return
    if (body.end.kind === 'returned') this.#unload()
    else this.#blame.cleared()
    this.#end(body.end)
  }

  #end(end: BatchEnd): void {
    const run = this.#run
    this.#run = undefined
    if (this.#nextSpec !== undefined) this.#become(this.#nextSpec)
    this.#cancelIdle = this.#parts.clock.after(this.#spec.idleMs ?? this.#parts.idleMs, () => {
      if (this.#run === undefined) this.#unload()
    })
    run?.end(end)
  }

  #unload(): void {
    const where = this.#where
    if (where.kind === 'unloaded') return
    this.#where = { kind: 'unloaded' }
    this.#heapBytes = 0
    where.executor.unload(where.number)
    this.#parts.left(where.place)
  }

  /** Its executor is gone, by no fault of its own. */
  executorGone(): void {
    this.#where = { kind: 'unloaded' }
    this.#heapBytes = 0
    if (this.#run !== undefined) this.#end({ kind: 'returned' })
  }

  /** Its executor died while others ran too. */
  suspected(): void {
    this.#blame.suspect()
    this.executorGone()
  }

  /** It brought its executor down. */
  charged(death: Death): void {
    const run = this.#run
    this.#where = { kind: 'unloaded' }
    this.#heapBytes = 0
    const atDeadline = run !== undefined && death.reason === 'deadline' && run.index >= 0
    const index = atDeadline ? run.index : run?.alone
    const record = index === undefined ? undefined : run?.items[index]?.invocationId
    const verdict = this.#blame.charge(this.#parts.clock.monotonic(), record, death.text)
    if (verdict.disabled)
      this.#parts.logger.error(
        { function: this.name, reason: this.#blame.disabled },
        'the function is disabled',
      )
    if (atDeadline) {
      this.#end({ kind: 'timeout', index: run.index, error: this.#timedOut(record ?? '') })
      return
    }
    if (run === undefined) return
    const guilty = verdict.recordGuilty ? index : undefined
    const id = record === undefined ? '' : `RequestId: ${record} `
    this.#end({
      kind: 'killed',
      index: guilty,
      error: exitError(`${id}Error: Runtime exited: ${death.text}`),
    })
  }

  #timedOut(id: string): ErrorDocument {
    return {
      errorType: 'Sandbox.Timedout',
      errorMessage: `RequestId: ${id} Error: Task timed out after ${(this.#spec.timeoutMs / 1000).toFixed(2)} seconds`,
      trace: [],
    }
  }

  stats(): FunctionStats {
    return {
      name: this.name,
      state: this.#state(),
      reason: this.#blame.disabled,
      executorPid: this.#where.kind === 'loaded' ? this.#where.executor.pid : undefined,
      heapBytes: this.#heapBytes,
      coldStartMs: this.#coldStartMs,
    }
  }

  #state(): FunctionStats['state'] {
    if (this.#blame.disabled !== undefined) return 'disabled'
    if (this.#run !== undefined && this.#blame.probing) return 'probing'
    if (this.#where.kind === 'unloaded') return this.#run === undefined ? 'unloaded' : 'loading'
    if (this.#run === undefined) return 'ready'
    return this.#heapBytes === 0 ? 'loading' : 'running'
  }

  /** Drops it; a batch in flight comes back. */
  close(): void {
    this.#cancelIdle?.()
    const run = this.#run
    this.#run = undefined
    this.#unload()
    run?.end({ kind: 'returned' })
  }
}

function exitError(errorMessage: string): ErrorDocument {
  return { errorType: 'Runtime.ExitError', errorMessage, trace: [] }
}
