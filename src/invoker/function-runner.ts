/**
 * Runs one function: takes records from its inbox and gives them to the sandbox in batches.
 *
 *   inbox ─take─► batch ─► sandbox ─► Verdicts ─► Outcomes (one transaction: effects + checkpoint, D2)
 *     ▲                       │
 *     └── comes back ◄────────┘ no result: a failure before it, a neighbour's fault, a conflict on state
 *
 * One batch at a time; while its results commit the next is already in the sandbox. It waits, and `waitingFor`
 * says for what: a retry's backoff, an open breaker (`breaker.ts`), room in a log it publishes to
 * (`output-gate.ts`), its publish rate, commits under way, the disk. A function that cannot take its messages
 * never holds publishers back: from the second failure in a row its full inbox drops the oldest (into the
 * ledger, D4) instead of blocking.
 */
import type { Clock } from '#base/clock.ts'
import { FescueError } from '#base/errors.ts'
import { type Epoch, type InvocationId, invocationIds, type Offset } from '#base/ids.ts'
import type { Logger } from '#base/logger.ts'
import type { Router } from '#router/router.ts'
import type { BatchEnd, BatchItem, LogLine, Sandbox, Success } from '#sandbox/sandbox.ts'
import type { LogRecord } from '#store/record.ts'
import type { Store } from '#store/store.ts'
import { type BatchOwner, BatchRun } from './batch-run.ts'
import { BatchSize } from './batch-size.ts'
import { Breaker, type BreakerState } from './breaker.ts'
import type { DeadLetterLog } from './dead-letter-log.ts'
import { EffectsStage } from './effects.ts'
import { PublishGrants } from './grants.ts'
import type { Inbox } from './inbox.ts'
import type { InvocationObservers } from './invocation-event.ts'
import { Outcomes } from './outcomes.ts'
import { OutputGate } from './output-gate.ts'
import { PublishRate } from './publish-rate.ts'
import { type Revision, specOf } from './revision.ts'
import type { RunnerMetrics } from './runner-metrics.ts'
import type { StateSpace } from './state-space.ts'
import { type LastError, Verdicts } from './verdicts.ts'
import type { Waiters } from './waiters.ts'

export interface RunnerOptions {
  readonly name: string
  readonly store: Store
  readonly router: Router
  readonly sandbox: Sandbox
  readonly clock: Clock
  readonly logger: Logger
  readonly random: () => number
  readonly deviceSecret: string
  readonly inbox: Inbox
  readonly state: StateSpace
  readonly dead: DeadLetterLog
  readonly waiters: Waiters
  readonly observers: InvocationObservers
  readonly metrics: RunnerMetrics
}

export type WaitReason = 'retry' | 'breaker' | 'outputs' | 'rate' | 'commits' | 'disk' | 'returned' | 'gaps'

type Phase =
  /** Not begun: what it publishes would miss consumers that are not in the router's index yet. */
  | { readonly kind: 'held' }
  | { readonly kind: 'idle' }
  | { readonly kind: 'reading' }
  | { readonly kind: 'running'; readonly run: BatchRun }
  | { readonly kind: 'waiting'; readonly reason: WaitReason; readonly cancel: () => void }

/** Whether the function may run at all. `disabled`: it brought its executor down too often. */
type Standing =
  | { readonly kind: 'active'; readonly revision: Revision; readonly grants: PublishGrants }
  | { readonly kind: 'disabled'; readonly reason: string }
  | { readonly kind: 'stopped' }

/** Failures in a row from which on a full inbox no longer holds publishers back. */
export const patienceFailures = 2
/** Longest wait before a batch that came back without any progress is tried again. */
const returnedMaxMs = 1_000
const diskCheckMs = 1_000

export class FunctionRunner implements BatchOwner {
  readonly #options: RunnerOptions
  readonly #outcomes: Outcomes
  readonly #verdicts: Verdicts
  readonly #breaker: Breaker
  readonly #rate: PublishRate
  readonly #gate: OutputGate
  readonly #batchSize = new BatchSize()
  readonly #forget: (() => void)[] = []
  #phase: Phase = { kind: 'held' }
  #standing: Standing = { kind: 'stopped' }
  #invocationId: { epoch: Epoch; of: (offset: Offset) => InvocationId } | undefined
  #returnedInVain = 0
  /** Called when a batch ended or a commit was reported; for `drain`. */
  #settledListener: (() => void) | undefined

  constructor(options: RunnerOptions) {
    const { name, store, router, clock, random, inbox, state, dead, waiters, observers, metrics } = options
    this.#options = options
    this.#breaker = new Breaker(clock, random)
    this.#rate = new PublishRate(clock, 1)
    this.#gate = new OutputGate(router, clock, inbox.log)
    const effects = new EffectsStage(name, router, state)
    this.#outcomes = new Outcomes({
      store,
      inbox,
      state,
      effects,
      dead,
      waiters,
      onCommitted: () => this.#wake('commits'),
      onClosed: () => this.stop(),
    })
    const { outcomes, breaker, rate } = { outcomes: this.#outcomes, breaker: this.#breaker, rate: this.#rate }
    this.#verdicts = new Verdicts({
      name,
      clock,
      random,
      inbox,
      state,
      effects,
      outcomes,
      breaker,
      rate,
      waiters,
      observers,
      metrics,
    })
    this.#forget.push(inbox.log.onAppend(() => this.#wake('retry')))
  }

  get breaker(): BreakerState {
    return this.#breaker.state
  }

  get lastError(): LastError | undefined {
    return this.#verdicts.lastError
  }

  get standing(): Standing['kind'] {
    return this.#standing.kind
  }

  get disabledReason(): string | undefined {
    return this.#standing.kind === 'disabled' ? this.#standing.reason : undefined
  }

  get waitingFor(): WaitReason | undefined {
    return this.#phase.kind === 'waiting' ? this.#phase.reason : undefined
  }

  /** Begins to take records; until then it only has its revision. */
  async begin(): Promise<void> {
    if (this.#phase.kind !== 'held') return
    this.#phase = { kind: 'reading' }
    await this.#options.inbox.recallRetries(this.keyOf)
    if (this.#phase.kind === 'reading') this.#phase = { kind: 'idle' }
    this.#pump()
  }

  /** Runs this revision from the next batch on; a batch in the sandbox ends under its own. */
  use(revision: Revision): void {
    this.#adopt(revision)
    // A batch in the sandbox still needs its cursor; it rewinds at its end if something came back.
    if (this.#phase.kind === 'idle' || this.#phase.kind === 'waiting') this.#options.inbox.hurryRetries()
    this.#beIdle()
    this.#pumpSoon()
  }

  #adopt(revision: Revision): void {
    const { name, sandbox, deviceSecret } = this.#options
    const { publish, publishPerSecond, concurrency, retry } = revision.manifest
    sandbox.load(specOf(name, revision, deviceSecret))
    this.#standing = { kind: 'active', revision, grants: new PublishGrants(publish) }
    this.#gate.use(publish)
    this.#rate.perSecond = publishPerSecond
    this.#breaker.reset({ concurrency, attempts: retry.attempts })
    this.#returnedInVain = 0
    this.#batchSize.reset()
    this.#setPatience()
  }

  /** Key whose records run one after the other: one for all, one per topic, or each its own. */
  keyOf = (record: LogRecord): string => {
    if (this.#standing.kind !== 'active' || this.#standing.revision.manifest.concurrency === 1) return ''
    if (this.#standing.revision.manifest.orderBy === 'topic') return record.key ?? record.topic
    return this.#idOf(record)
  }

  /** Takes no new batch, waits for the one in the sandbox up to `graceMs`, and for its commit. */
  async drain(graceMs: number): Promise<void> {
    if (this.#standing.kind === 'active') this.#standing = { kind: 'stopped' }
    this.#beIdle()
    const { promise, resolve } = Promise.withResolvers<void>()
    const cancel = this.#options.clock.after(graceMs, resolve)
    this.#settledListener = () => {
      if (this.#phase.kind !== 'running' && this.#outcomes.settled) resolve()
    }
    this.#settledListener()
    await promise
    cancel()
    this.stop()
  }

  /** Ends now: what is in the sandbox comes to nothing and runs again after the next start. Idempotent. */
  stop(): void {
    this.#standing = { kind: 'stopped' }
    if (this.#phase.kind === 'running') this.#phase.run.close()
    this.#beIdle()
    this.#phase = { kind: 'idle' }
    for (const forget of this.#forget.splice(0)) forget()
    this.#settledListener?.()
  }

  succeeded(run: BatchRun, index: number, success: Success): void {
    const wasFailing = this.#breaker.failures > 0
    if (!this.#verdicts.succeeded(run, index, success)) this.#discard(run)
    if (wasFailing) this.#setPatience()
  }

  ended(run: BatchRun, end: BatchEnd): void {
    const { inbox, clock } = this.#options
    this.#phase = { kind: 'idle' }
    this.#batchSize.learn(run.finished, clock.monotonic() - run.batch.startedAt)
    // Of code that was replaced meanwhile nothing follows for the code that runs now.
    const replaced = this.#standing.kind === 'active' && this.#standing.revision !== run.batch.revision
    this.#verdicts.ended(run, replaced && end.kind === 'broken' ? { kind: 'returned' } : end)
    if (!run.complete) inbox.rewind()
    if (end.kind === 'killed') this.#checkDisabled(end.error.errorMessage)
    this.#setPatience()
    const inVain = run.finished === 0 && (end.kind === 'returned' || end.kind === 'done')
    this.#returnedInVain = inVain ? this.#returnedInVain + 1 : 0
    if (inVain)
      this.#waitFor('returned', Math.min(returnedMaxMs, 5 * 2 ** Math.min(this.#returnedInVain, 10)))
    this.#pumpSoon()
    this.#settledListener?.()
  }

  log(line: LogLine): void {
    const { name, logger, observers } = this.#options
    logger[line.level]({ invocationId: line.invocationId }, line.text)
    observers.log({ function: name, ...line })
  }

  #pumpSoon(): void {
    queueMicrotask(() => this.#pump())
  }

  #pump(): void {
    if (this.#phase.kind !== 'idle' || this.#standing.kind !== 'active') return
    const { inbox, clock } = this.#options
    if (!inbox.pending && inbox.checkpoint.low >= inbox.log.end) return
    if (this.#mustWait()) return
    const now = clock.now()
    inbox.rewindIfDue(now)
    const maxRecords = this.#breaker.state.kind === 'half-open' ? 1 : this.#batchSize.items
    const taken = inbox.take({ maxRecords, now, keyOf: this.keyOf })
    for (const record of taken.expired) this.#outcomes.expire(record)
    if (taken.records.length > 0) {
      this.#dispatch(this.#standing, taken.records)
      return
    }
    if (taken.needsRead) {
      this.#readOn()
      return
    }
    this.#waitForRetry(now)
  }

  /** Begins a wait when something forbids a batch now. */
  #mustWait(): boolean {
    const { store, inbox, clock } = this.#options
    const breakerMs = this.#breaker.waitMs()
    if (breakerMs > 0) return this.#waitFor('breaker', breakerMs)
    if (!this.#outcomes.hasRoom) return this.#waitFor('commits', diskCheckMs)
    if (!store.accepting) return this.#waitFor('disk', diskCheckMs)
    const rateMs = this.#rate.waitMs()
    if (rateMs > 0) return this.#waitFor('rate', rateMs)
    // One key for all: while it backs off there is nothing to look for.
    const sequential = this.#standing.kind === 'active' && this.#standing.revision.manifest.concurrency === 1
    if (sequential && this.#waitForRetry(clock.now())) return true
    if (inbox.checkpoint.full) {
      if (this.#waitForRetry(clock.now(), 'gaps')) return true
      inbox.rewind()
    }
    const hold = this.#gate.hold()
    return hold === undefined ? false : this.#waitFor('outputs', hold.waitMs, wake => hold.log.onRoom(wake))
  }

  #waitForRetry(now: number, reason: WaitReason = 'retry'): boolean {
    const at = this.#options.inbox.nextRetryAt(now)
    return at === undefined ? false : this.#waitFor(reason, at - now)
  }

  #waitFor(reason: WaitReason, waitMs: number, listen?: (wake: () => void) => () => void): true {
    this.#beIdle()
    const cancelTimer = this.#options.clock.after(Math.max(1, waitMs), () => this.#wake(reason))
    const forget = listen?.(() => this.#wake(reason))
    const cancel = (): void => {
      cancelTimer()
      forget?.()
    }
    this.#phase = { kind: 'waiting', reason, cancel }
    return true
  }

  /** Ends a wait for `reason`, if that is what it waits for, and looks for work. */
  #wake(reason: WaitReason): void {
    if (this.#phase.kind === 'waiting') {
      if (this.#phase.reason !== reason) {
        this.#settledListener?.()
        return
      }
      this.#beIdle()
    }
    if (this.#phase.kind === 'idle') this.#pump()
    this.#settledListener?.()
  }

  #beIdle(): void {
    if (this.#phase.kind !== 'waiting') return
    this.#phase.cancel()
    this.#phase = { kind: 'idle' }
  }

  #readOn(): void {
    this.#phase = { kind: 'reading' }
    const finish = (error?: unknown): void => {
      if (this.#phase.kind === 'reading') this.#phase = { kind: 'idle' }
      if (error !== undefined && !(error instanceof FescueError && error.code === 'FESCUE_STORE_CLOSED')) {
        this.#options.logger.error({ err: error }, 'the inbox cannot be read; trying again')
        this.#waitFor('disk', diskCheckMs)
      } else if (error === undefined) this.#pump()
    }
    this.#options.inbox.read().then(() => finish(), finish)
  }

  #dispatch({ revision, grants }: Standing & { kind: 'active' }, records: readonly LogRecord[]): void {
    const { name, sandbox, inbox, state, clock } = this.#options
    const items = records.map(
      (record): BatchItem => ({
        invocationId: this.#idOf(record),
        attempt: inbox.attemptsOf(record.offset) + 1,
        topic: record.topic,
        payload: record.payload,
        time: record.time,
        qos: record.qos,
        retain: record.retain ?? false,
        orderKey: this.keyOf(record),
      }),
    )
    const run = new BatchRun(this, state, { revision, grants, records, items, startedAt: clock.monotonic() })
    this.#phase = { kind: 'running', run }
    sandbox.run(name, items, run)
  }

  #idOf(record: LogRecord): InvocationId {
    const { epoch, offset } = record
    if (this.#invocationId?.epoch !== epoch) {
      const { log } = this.#options.inbox
      this.#invocationId = { epoch, of: invocationIds(epoch, this.#options.name, log.name, log.incarnation) }
    }
    return this.#invocationId.of(offset)
  }

  #checkDisabled(message: string): void {
    const { name, sandbox } = this.#options
    const stats = sandbox.stats().find(each => each.name === name)
    if (stats?.state !== 'disabled') return
    const reason = stats.reason ?? message
    this.#standing = { kind: 'disabled', reason }
    this.#options.observers.change({ function: name, change: 'disabled', detail: reason })
  }

  /** A function that fails does not hold back publishers: its full inbox drops the oldest. */
  #setPatience(): void {
    const { log } = this.#options.inbox
    const patient = this.#standing.kind !== 'disabled' && this.#breaker.failures < patienceFailures
    const overflow = patient ? 'block' : 'drop-oldest'
    if (log.limits.overflow !== overflow) log.setLimits({ ...log.limits, overflow })
  }

  /**
   * The isolate believes in effects that were refused: it is dropped, and with it the results that may rest on
   * them. Not within `result`, which the sandbox calls from the middle of a frame.
   */
  #discard(run: BatchRun): void {
    run.discard()
    const { name, sandbox, deviceSecret } = this.#options
    queueMicrotask(() => {
      if (this.#standing.kind !== 'active') return
      sandbox.unload(name)
      sandbox.load(specOf(name, this.#standing.revision, deviceSecret))
    })
  }
}
