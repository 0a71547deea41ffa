/**
 * Functions: the folder becomes revisions, revisions take messages, results become effects.
 *
 *   functions/ ─watch, scan─► function-folders ─► bundler, manifest ─► revision ─┐
 *                                                                              switch (one batch)
 *   store ─► catalog (what was current) ─────────────────────────────────────────┤
 *                                                                                ▼
 *   router ─► inbox.NAME ─► active-function: function-runner ─► sandbox ─► verdicts ─► outcomes ─► store
 *   schedules ─┘                                                                └─► dead.NAME
 *
 * What was current is loaded from the store first, so functions run before, and without, their folder (D2: a
 * switch is one batch). A folder that does not build keeps its last good revision and says why. A folder that is
 * gone detaches: inbox and state stay for `detachedKeptMs`. Changes are applied one after the other.
 */
import type { Clock } from '#base/clock.ts'
import { FescueError } from '#base/errors.ts'
import type { Offset } from '#base/ids.ts'
import type { Logger } from '#base/logger.ts'
import type { Metrics } from '#base/metrics.ts'
import type { Service } from '#base/service.ts'
import type { Router } from '#router/router.ts'
import type { Sandbox } from '#sandbox/sandbox.ts'
import type { Store } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'
import { ActiveFunction, type InvokeOptions, limitBytes } from './active-function.ts'
import { BundleCache } from './bundle-cache.ts'
import { Bundler, type LoadEsbuild } from './bundler.ts'
import { Catalog, type FunctionEntry } from './catalog.ts'
import type { DeadLetter } from './dead-letter-log.ts'
import { type DeadLetterQuery, DeadLetters, unknownFunction } from './dead-letters.ts'
import type { Candidate } from './function-folders.ts'
import { detachedKeptMs, functionRows } from './function-rows.ts'
import type { FunctionStatus } from './function-status.ts'
import { InvocationObservers } from './invocation-event.ts'
import { manifestReader } from './manifest.ts'
import { logsOf, removeFunction, removeOrphans } from './removal.ts'
import type { Revision } from './revision.ts'
import { Schedules } from './schedules.ts'
import type { InvokeOutcome } from './waiters.ts'
import { WatchedFolder } from './watched-folder.ts'

export interface InvokerOptions {
  readonly store: Store
  readonly router: Router
  readonly sandbox: Sandbox
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: Metrics
  /** Absolute path of the folder with one sub-folder for each function. */
  readonly functionsFolder: string
  /** Where built bundles are kept; made when absent. */
  readonly cacheFolder: string
  /** Secret of the device, from which the seeds of randomness come (D8). */
  readonly deviceSecret: string
  /** Whether edits of the folder are followed. */
  readonly watch: boolean
  /** Bytes of one function's inbox (64 MiB) and of its dead letters (64 MiB). */
  readonly inboxMaxBytes?: number
  readonly deadLettersMaxBytes?: number
  /** For tests: jitter in [0, 1), and another esbuild. */
  readonly random?: () => number
  readonly loadEsbuild?: LoadEsbuild
}

/** What `update` takes. */
export type InvokerChange = Required<
  Pick<InvokerOptions, 'functionsFolder' | 'inboxMaxBytes' | 'deadLettersMaxBytes'>
>

const sweepMs = 60 * 60 * 1_000
/** How long a function whose folder is gone may finish what it runs. */
const detachGraceMs = 1_000

/**
 * Loads what was current, looks at the folder once and subscribes. Nothing runs before `run`: until all durable
 * consumers (sessions, routes) are in the router's index, what a function publishes would miss some of them.
 */
export async function startInvoker(options: InvokerOptions): Promise<Invoker> {
  const { store, clock, logger } = options
  const bundler = new Bundler(new BundleCache(options.cacheFolder), options.loadEsbuild)
  const { watch } = options
  const folders = new WatchedFolder({ bundler, readManifest: await manifestReader(), clock, watch })
  const catalog = await Catalog.open(store)
  const schedules = await Schedules.open(store, clock, logger)
  const invoker = new Invoker(options, { folders, catalog, schedules })
  await invoker.start()
  return invoker
}

interface Parts {
  readonly folders: WatchedFolder
  readonly catalog: Catalog
  readonly schedules: Schedules
}

export class Invoker implements Service {
  readonly name = 'invoker'
  readonly observers: InvocationObservers = new InvocationObservers()
  #options: InvokerOptions
  readonly #parts: Parts
  readonly #active = new Map<string, ActiveFunction>()
  readonly #dead: DeadLetters
  /** Why a folder's present content is not what runs. */
  readonly #problems = new Map<string, FescueError>()
  readonly #ended = Promise.withResolvers<void>()
  /** The change being applied; the next waits for it. */
  #applying: Promise<void> = Promise.resolve()
  #cancelSweep: (() => void) | undefined
  #folderError: string | undefined
  #state: 'loading' | 'running' | 'draining' | 'stopped' = 'loading'

  /** Use `startInvoker`. */
  constructor(options: InvokerOptions, parts: Parts) {
    this.#options = options
    this.#parts = parts
    this.#dead = new DeadLetters(options.store, options.deadLettersMaxBytes)
    parts.folders.onChanged(() => void this.rescan())
    parts.folders.use(options.functionsFolder)
  }

  async start(): Promise<void> {
    for (const entry of this.#parts.catalog.all()) await this.#resume(entry)
    await this.#parts.folders.refresh()
    await this.rescan()
    for (const name of await removeOrphans(this.#options.store, this.#parts.catalog))
      this.#options.logger.warn(
        { function: name },
        'messages of an unknown function are kept: purge deletes them',
      )
    this.#sweep()
  }

  /** Begins to run functions and schedules; settles when the part ends. */
  run(signal: AbortSignal): Promise<void> {
    if (this.#state === 'loading') {
      this.#state = 'running'
      this.#parts.schedules.begin()
      for (const active of this.#active.values()) this.#begin(active)
    }
    signal.addEventListener('abort', () => this.#ended.resolve(), { once: true })
    return this.#ended.promise
  }

  /** Takes no new batch, lets the running ones end within the grace, and commits them (D7). */
  async drain(graceMs: number): Promise<void> {
    if (this.#ending) return
    this.#state = 'draining'
    this.#quiet()
    await Promise.all([...this.#active.values()].map(each => each.drain(graceMs)))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#state = 'stopped'
    this.#quiet()
    for (const active of this.#active.values()) active.stop()
    await this.#applying
    this.#ended.resolve()
  }

  /** Why the functions folder cannot be read, or undefined. The functions run all the same. */
  get folderError(): string | undefined {
    return this.#folderError
  }

  /** A row for each function, by name. */
  functions(): FunctionStatus[] {
    const { store, sandbox } = this.#options
    const own = { active: this.#active, problems: this.#problems, dead: this.#dead }
    return functionRows({ store, sandbox, ...this.#parts, ...own })
  }

  /**
   * Gives a function one event and resolves with the outcome once it is committed. Errors: FESCUE_NOT_FOUND and
   * those of `ActiveFunction.invoke`.
   */
  async invoke(name: string, payload: Buffer, options: InvokeOptions = {}): Promise<InvokeOutcome> {
    if (this.#ending) throw new FescueError('FESCUE_STOPPING', 'the daemon is stopping')
    const active = this.#active.get(name)
    if (active !== undefined) return active.invoke(payload, options)
    const why = this.#problems.get(name)?.message ?? (this.#parts.catalog.entry(name) && 'its folder is gone')
    if (why === undefined) throw this.#unknown(name)
    throw new FescueError('FESCUE_FUNCTION_UNAVAILABLE', `function "${name}" cannot run: ${why}`)
  }

  /** Newest first. Errors: FESCUE_NOT_FOUND. */
  deadLetters(query: DeadLetterQuery): Promise<DeadLetter[]> {
    return this.#dead.list(query)
  }

  /**
   * Runs dead letters again, all of the function or some; how many. Errors: FESCUE_NOT_FOUND,
   * FESCUE_STORE_FULL (those before are done), FESCUE_FUNCTION_UNAVAILABLE.
   */
  async retryDeadLetters(name: string, offsets?: readonly Offset[]): Promise<number> {
    const active = this.#active.get(name)
    if (active !== undefined) return this.#dead.retry(name, active.log, offsets)
    if (this.#dead.find(name) === undefined) throw this.#unknown(name)
    throw new FescueError(
      'FESCUE_FUNCTION_UNAVAILABLE',
      `function "${name}" is not attached: bring back its folder`,
    )
  }

  /** Deletes dead letters for good; how many. Errors: FESCUE_NOT_FOUND. */
  dropDeadLetters(name: string, offsets?: readonly Offset[]): Promise<number> {
    return this.#dead.drop(name, offsets)
  }

  /**
   * Deletes inbox, state and dead letters of a function whose folder is gone, and writes what was there to the
   * loss ledger (D4); how many messages that were. Errors: FESCUE_NOT_FOUND, FESCUE_CONFLICT while it is attached.
   */
  async purge(name: string): Promise<number> {
    return this.#apply(async () => {
      const entry = this.#parts.catalog.entry(name)
      if (entry === undefined && logsOf(this.#options.store, name).length === 0) throw this.#unknown(name)
      if (entry?.state === 'attached')
        throw new FescueError('FESCUE_CONFLICT', `function "${name}" is attached: remove its folder first`)
      return this.#purge(name)
    })
  }

  /** Takes other bounds, and another folder: what is not in it detaches. Resolves when that is done; never rejects. */
  async update(change: InvokerChange): Promise<void> {
    this.#options = { ...this.#options, ...change }
    for (const { log } of this.#active.values()) limitBytes(log, change.inboxMaxBytes)
    this.#dead.limit(change.deadLettersMaxBytes)
    this.#parts.folders.use(change.functionsFolder)
    await this.rescan()
  }

  /** Looks at the folder now and applies what changed; resolves when that is done. Never rejects. */
  rescan(): Promise<void> {
    return this.#apply(() => this.#scan()).catch(error => {
      if (this.#state === 'running')
        this.#options.logger.error({ err: error }, 'the functions folder was not applied')
    })
  }

  #apply<Result>(change: () => Promise<Result>): Promise<Result> {
    const result = this.#applying.then(() => {
      if (this.#ending) throw new FescueError('FESCUE_STOPPING', 'the daemon is stopping')
      return change()
    })
    this.#applying = result.then(
      () => {},
      () => {},
    )
    return result
  }

  get #ending(): boolean {
    return this.#state === 'draining' || this.#state === 'stopped'
  }

  #begin(active: ActiveFunction): void {
    active.runner.begin().catch(error => {
      this.#options.logger.error({ err: error, function: active.name }, 'the function cannot read its inbox')
    })
  }

  #quiet(): void {
    this.#parts.folders.stop()
    this.#parts.schedules.stop()
    this.#cancelSweep?.()
  }

  async #resume(entry: FunctionEntry): Promise<void> {
    const { name, revisions } = entry
    const { catalog, schedules } = this.#parts
    await this.#dead.open(name)
    if (entry.state === 'detached') return
    const revision = await catalog.revision(name, revisions[0])
    if (revision === undefined) {
      // Damaged on disk: the folder brings it back; the inbox waits.
      const error = new FescueError(
        'FESCUE_STORE_DAMAGED',
        `revision ${revisions[0]} of "${name}" cannot be read`,
      )
      this.#problems.set(name, error)
      return
    }
    const active = await this.#open(name)
    active.resume(revision)
    const tx = new Transaction().require('process')
    schedules.stage(tx, name, revision.manifest.schedules, active.log)
    this.#options.store.commit(tx)
  }

  async #open(name: string): Promise<ActiveFunction> {
    const { random = Math.random, logger, ...rest } = this.#options
    const dead = await this.#dead.open(name)
    const { observers } = this
    const active = await ActiveFunction.open({
      ...rest,
      name,
      dead,
      random,
      observers,
      logger: logger.child({ function: name }),
    })
    this.#active.set(name, active)
    if (this.#state === 'running') this.#begin(active)
    return active
  }

  async #scan(): Promise<void> {
    const { folders, catalog } = this.#parts
    const { logger } = this.#options
    const scan = await folders.scan()
    if (scan.kind === 'unreadable') {
      // Nothing is concluded from a folder that cannot be read: what was current runs on.
      if (this.#folderError !== scan.error.message)
        logger.warn({ err: scan.error }, 'the functions folder cannot be read; what was current runs on')
      this.#folderError = scan.error.message
    } else {
      this.#folderError = undefined
      for (const candidate of scan.candidates) await this.#consider(candidate)
      const names = new Set(scan.candidates.map(({ name }) => name))
      for (const entry of catalog.all())
        if (entry.state === 'attached' && !names.has(entry.name)) await this.#detach(entry)
      for (const name of this.#problems.keys()) if (!names.has(name)) this.#problems.delete(name)
    }
    await this.#parts.folders.refresh()
  }

  async #consider(candidate: Candidate): Promise<void> {
    const { name } = candidate
    const { logger } = this.#options
    if (candidate.kind === 'built') {
      this.#problems.delete(name)
      return this.#switch(name, candidate.revision)
    }
    const { error } = candidate
    if (this.#problems.get(name)?.message === error.message) return
    this.#problems.set(name, error)
    const kept = this.#active.has(name) ? '; the last good revision runs on' : ''
    logger.warn({ function: name, code: error.code }, `${error.message}${kept}`)
    this.observers.change({ function: name, change: 'failed', detail: error.message })
  }

  async #switch(name: string, revision: Revision): Promise<void> {
    const { catalog, schedules } = this.#parts
    const { store, clock, logger } = this.#options
    if (this.#active.get(name)?.revision?.id === revision.id) return
    const active = this.#active.get(name) ?? (await this.#open(name))
    const tx = new Transaction().require('power')
    await active.stageFilters(tx, revision, catalog.entry(name)?.filters ?? [])
    catalog.stageSwitch(tx, name, revision, clock.now())
    schedules.stage(tx, name, revision.manifest.schedules, active.log)
    await store.write(tx)
    active.use(revision)
    logger.info({ function: name, revision: revision.id }, 'function switched')
    this.observers.change({ function: name, change: 'switched', detail: revision.id })
  }

  async #detach(entry: FunctionEntry): Promise<void> {
    const { catalog, schedules } = this.#parts
    const { store, clock, logger } = this.#options
    const active = this.#active.get(entry.name)
    this.#active.delete(entry.name)
    await active?.detach(detachGraceMs)
    const tx = new Transaction().require('power')
    catalog.stageDetach(tx, entry, clock.now())
    schedules.stageRemoval(tx, entry.name)
    await store.write(tx)
    logger.warn({ function: entry.name }, 'the folder is gone: detached; inbox and state are kept for 7 days')
    this.observers.change({ function: entry.name, change: 'detached', detail: 'its folder is gone' })
  }

  async #purge(name: string): Promise<number> {
    const messages = await removeFunction(this.#options.store, this.#parts.catalog, name)
    this.#dead.forget(name)
    this.#options.logger.info({ function: name, messages }, 'function purged')
    this.observers.change({ function: name, change: 'purged', detail: `${messages} messages` })
    return messages
  }

  /** Purges what was detached for too long, now and every hour. */
  #sweep(): void {
    const now = this.#options.clock.now()
    for (const entry of this.#parts.catalog.all()) {
      if (entry.state !== 'detached' || entry.detachedAt + detachedKeptMs > now) continue
      this.purge(entry.name).catch(error => {
        if (!this.#ending) this.#options.logger.error({ err: error }, 'a detached function was not purged')
      })
    }
    if (!this.#ending) this.#cancelSweep = this.#options.clock.after(sweepMs, () => this.#sweep())
  }

  #unknown(name: string): FescueError {
    return unknownFunction(
      name,
      this.functions().map(row => row.name),
    )
  }
}
