/**
 * The supervisor: which executor runs which function, and what happens when one dies.
 *
 *   run(batch) ─► HostedFunction ─► executor: shared (one per time zone) · own · probe
 *                      ▲                 │ dies
 *                      └── blame ◄───────┘  culprit charged · several running: suspects · idle ones: nothing
 *
 * Executors start when a function needs one, with a growing wait after deaths. Batches of functions that are not
 * to blame come back as `returned`, so a neighbour loses one re-run (D5). An isolate that has had nothing to do for `idleMs` is dropped
 * and made again on demand.
 */
import { Backoff } from '#base/backoff.ts'
import { type Clock, systemClock } from '#base/clock.ts'
import { FescueError } from '#base/errors.ts'
import { type Logger, silentLogger } from '#base/logger.ts'
import { type Metrics, noMetrics } from '#base/metrics.ts'
import { type ExecutorFiles, executorFiles } from './executor-files.ts'
import { type Death, ExecutorProcess } from './executor-process.ts'
import { HostedFunction, type Place } from './hosted-function.ts'
import { MemoryFence } from './memory-fence.ts'
import {
  type BatchItem,
  type BatchSink,
  batchItemsMax,
  type FunctionSpec,
  type FunctionStats,
  type Sandbox,
} from './sandbox.ts'

export interface SandboxOptions {
  readonly clock?: Clock
  readonly logger?: Logger
  readonly metrics?: Metrics
  /** Milliseconds without a batch after which an isolate is dropped. */
  readonly idleMs?: number
  /** Milliseconds that an executor may take to start and load a module. */
  readonly startTimeoutMs?: number
  /** Where the executor's files are; those of the checkout by default. */
  readonly files?: ExecutorFiles
  /** Resident bytes of a process; a test names its own. */
  readonly readResident?: (pid: number) => number | undefined
  /** Folder in which texts made from the sources are kept (text-cache.ts). */
  readonly cacheFolder?: string
}

const idleDefaultMs = 60_000
/** First and longest wait before an executor is started again. */
const restartInitialMs = 100
const restartMaxMs = 10_000
/** An executor that lived so long has held. */
const heldMs = 10_000

/** What stands at a place; `pausing`: after a death, for a while. */
type Occupant =
  | { readonly kind: 'none' }
  | { readonly kind: 'executor'; readonly executor: ExecutorProcess }
  | { readonly kind: 'pausing' }

/** One place where an executor runs or ran: `shared UTC`, `own NAME`, `probe NAME`. */
interface Slot {
  readonly backoff: Backoff
  occupant: Occupant
  /** Functions that wait for an executor here. */
  readonly waiting: Set<HostedFunction>
}

export class Supervisor implements Sandbox {
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #metrics: Metrics
  readonly #idleMs: number
  #files: ExecutorFiles | undefined
  readonly #cacheFolder: string | undefined
  readonly #readResident: Pick<SandboxOptions, 'readResident'>
  readonly #startTimeoutMs: number | undefined
  readonly #fence: MemoryFence
  readonly #functions = new Map<string, HostedFunction>()
  readonly #slots = new Map<string, Slot>()
  readonly #gone: Promise<void>[] = []
  #lastNumber = 0
  #closed = false

  constructor(options: SandboxOptions) {
    this.#clock = options.clock ?? systemClock
    this.#logger = options.logger ?? silentLogger
    this.#metrics = options.metrics ?? noMetrics
    this.#idleMs = options.idleMs ?? idleDefaultMs
    this.#startTimeoutMs = options.startTimeoutMs
    this.#files = options.files
    this.#cacheFolder = options.cacheFolder
    this.#readResident = options.readResident === undefined ? {} : { readResident: options.readResident }
    this.#fence = new MemoryFence(this.#logger)
  }

  load(spec: FunctionSpec): void {
    const existing = this.#functions.get(spec.name)
    if (existing !== undefined) {
      existing.replace(spec)
      return
    }
    const place = (hosted: HostedFunction) => this.#executorOf(hosted)
    const hosted = new HostedFunction(spec, {
      clock: this.#clock,
      logger: this.#logger,
      idleMs: this.#idleMs,
      executor: place,
      nextNumber: () => ++this.#lastNumber,
      left: at => this.#left(at),
    })
    this.#functions.set(spec.name, hosted)
  }

  unload(name: string): void {
    const hosted = this.#functions.get(name)
    this.#functions.delete(name)
    hosted?.close()
  }

  run(name: string, items: readonly BatchItem[], sink: BatchSink): void {
    const hosted = this.#functions.get(name)
    if (hosted === undefined)
      throw new FescueError('FESCUE_NOT_FOUND', `function "${name}" is not loaded in the sandbox`)
    if (items.length === 0 || items.length > batchItemsMax)
      throw new FescueError('FESCUE_INTERNAL', `a batch of ${items.length} items: use 1 to ${batchItemsMax}`)
    if (this.#closed) sink.ended({ kind: 'returned' })
    else hosted.run(items, sink)
  }

  prepare(): void {
    for (const hosted of this.#functions.values())
      if (hosted.place().startsWith('shared') && !hosted.running) this.#executorOf(hosted)
  }

  stats(): readonly FunctionStats[] {
    return [...this.#functions.values()].map(hosted => hosted.stats())
  }

  #slotOf(place: Place): Slot {
    let slot = this.#slots.get(place)
    if (slot === undefined) {
      slot = {
        backoff: new Backoff({ initialMs: restartInitialMs, maxMs: restartMaxMs }),
        occupant: { kind: 'none' },
        waiting: new Set(),
      }
      this.#slots.set(place, slot)
    }
    return slot
  }

  /** The executor at a function's place; undefined while it must wait for one, which is then told. */
  #executorOf(hosted: HostedFunction): ExecutorProcess | undefined {
    const place = hosted.place()
    const slot = this.#slotOf(place)
    const { occupant } = slot
    if (occupant.kind === 'executor' && occupant.executor.alive) return occupant.executor
    if (this.#closed) return undefined
    if (occupant.kind !== 'none') {
      slot.waiting.add(hosted)
      return undefined
    }
    const executor = this.#start(place, slot, hosted.timeZone)
    slot.occupant = { kind: 'executor', executor }
    return executor
  }

  #start(place: Place, slot: Slot, timeZone: string): ExecutorProcess {
    const gone = Promise.withResolvers<void>()
    this.#gone.push(gone.promise)
    const executor: ExecutorProcess = new ExecutorProcess({
      clock: this.#clock,
      logger: this.#logger,
      fence: this.#fence,
      files: this.#filesOnce(),
      ...(this.#startTimeoutMs === undefined ? {} : { startTimeoutMs: this.#startTimeoutMs }),
      timeZone,
      ...this.#readResident,
      died: death => {
        gone.resolve()
        this.#gone.splice(this.#gone.indexOf(gone.promise), 1)
        this.#died(place, slot, executor, death)
      },
    })
    this.#logger.debug({ place, pid: executor.pid }, 'executor started')
    return executor
  }

  /** Made when the first executor is started, so that a daemon without functions pays nothing. */
  #filesOnce(): ExecutorFiles {
    this.#files ??= executorFiles(this.#cacheFolder)
    return this.#files
  }

  #died(place: Place, slot: Slot, executor: ExecutorProcess, death: Death): void {
    slot.occupant = { kind: 'pausing' }
    if (this.#clock.monotonic() - executor.startedAt >= heldMs) slot.backoff.held()
    const there = [...this.#functions.values()].filter(hosted => hosted.isIn(executor))
    if (death.reason === 'stopped') {
      for (const hosted of there) hosted.executorGone()
      this.#again(place, slot, 0)
      return
    }
    this.#metrics
      .counter('fescue_executor_deaths_total', 'Executors that died', { reason: death.reason })
      .add()
    this.#blame(place, there, death)
    this.#again(place, slot, slot.backoff.nextMs())
  }

  #blame(place: Place, there: readonly HostedFunction[], death: Death): void {
    const running = there.filter(hosted => hosted.running)
    // A SIGKILL from outside may be the memory killer's or an operator's: only a probe tells which.
    const certain = death.reason !== 'killed' || place.startsWith('probe')
    const alone = certain && running.length === 1 ? running[0] : undefined
    const culprit = there.find(hosted => hosted.number === death.culprit) ?? alone
    this.#logger.warn(
      {
        place,
        reason: death.reason,
        text: death.text,
        culprit: culprit?.name,
        running: running.map(each => each.name),
      },
      'an executor died',
    )
    for (const hosted of there) {
      if (hosted === culprit) hosted.charged(death)
      else if (hosted.running && culprit === undefined) hosted.suspected()
      else hosted.executorGone()
    }
  }

  /** After a pause, those who wait may start an executor again. */
  #again(place: Place, slot: Slot, delayMs: number): void {
    this.#clock.after(delayMs, () => {
      slot.occupant = { kind: 'none' }
      const waiting = [...slot.waiting]
      slot.waiting.clear()
      for (const hosted of waiting) hosted.start()
      if (slot.occupant.kind === 'none' && delayMs === 0) this.#slots.delete(place)
    })
  }

  /** A function has left an executor: one that only it used is ended. */
  #left(place: Place): void {
    const occupant = this.#slots.get(place)?.occupant
    if (occupant?.kind === 'executor' && !place.startsWith('shared') && occupant.executor.size === 0)
      occupant.executor.stop()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    for (const hosted of this.#functions.values()) hosted.close()
    this.#functions.clear()
    for (const { occupant } of this.#slots.values())
      if (occupant.kind === 'executor') occupant.executor.stop()
    await Promise.all(this.#gone)
    this.#fence.close()
  }
}

/** The sandbox over executor processes. */
export function createSandbox(options: SandboxOptions = {}): Sandbox {
  return new Supervisor(options)
}
