/**
 * A function that takes messages: its inbox as a consumer of the router, its state, its runner.
 *
 *   router ──record()──► inbox.NAME ──► FunctionRunner ──► sandbox
 *
 * It exists from attaching to detaching; what outlasts it (inbox, state, dead letters, entry) is in the store.
 */
import { FescueError } from '#base/errors.ts'
import type { Metrics } from '#base/metrics.ts'
import { problemOfTopic } from '#base/topics.ts'
import type { DurableConsumer } from '#router/consumer.ts'
import { type Message, originText, toRecord } from '#router/message.ts'
import { recordEnvelopeBytes } from '#router/router.ts'
import type { CommitLog } from '#store/commit-log.ts'
import type { Qos, RecordInput } from '#store/record.ts'
import { Transaction } from '#store/transaction.ts'
import type { DeadLetterLog } from './dead-letter-log.ts'
import { FunctionRunner, type RunnerOptions } from './function-runner.ts'
import { Inbox, inboxConsumer } from './inbox.ts'
import type { Revision } from './revision.ts'
import { RunnerMetrics } from './runner-metrics.ts'
import { StateSpace } from './state-space.ts'
import { expiryOf } from './trigger-ttl.ts'
import { type InvokeOutcome, Waiters } from './waiters.ts'

/** Bytes of an inbox; then publishers wait. */
export const inboxMaxBytes: number = 64 * 1024 * 1024
/** Retained values that a new filter brings at most, in number and bytes (D6): they are one batch with the switch. */
export const retainedFirstMax = 10_000
export const retainedFirstMaxBytes = 4 * 1024 * 1024

export function inboxLogName(name: string): string {
  return `inbox.${name}`
}

/** Another bound for a log, in bytes. */
export function limitBytes(log: CommitLog, maxBytes: number): void {
  if (log.limits.maxBytes !== maxBytes) log.setLimits({ ...log.limits, maxBytes })
}

export type ActiveFunctionOptions = Omit<RunnerOptions, 'inbox' | 'state' | 'waiters' | 'metrics'> & {
  readonly metrics: Metrics
  readonly inboxMaxBytes?: number
}

export interface InvokeOptions {
  /** `context.topic`; `$invoke/NAME` by default. */
  readonly topic?: string
  /** Longest wait for the outcome (30 s); the message runs all the same. */
  readonly timeoutMs?: number
}

export class ActiveFunction implements DurableConsumer {
  readonly id: string
  readonly name: string
  readonly inbox: Inbox
  readonly state: StateSpace
  readonly dead: DeadLetterLog
  readonly runner: FunctionRunner
  readonly metrics: RunnerMetrics
  readonly #options: ActiveFunctionOptions
  readonly #waiters: Waiters
  #revision: Revision | undefined
  /** Topics that came live while retained values are being read: those are newer. */
  #liveTopics: Set<string> | undefined

  private constructor(options: ActiveFunctionOptions, inbox: Inbox, state: StateSpace) {
    this.#options = options
    this.name = options.name
    this.id = `function:${options.name}`
    this.inbox = inbox
    this.state = state
    this.dead = options.dead
    this.#waiters = new Waiters(options.clock)
    this.metrics = new RunnerMetrics(options.metrics, options.name)
    this.runner = new FunctionRunner({
      ...options,
      inbox,
      state,
      waiters: this.#waiters,
      metrics: this.metrics,
    })
  }

  static async open(options: ActiveFunctionOptions): Promise<ActiveFunction> {
    const { store, name } = options
    const { inboxMaxBytes: maxBytes = inboxMaxBytes } = options
    const log = store.log(inboxLogName(name), { maxBytes, overflow: 'block' })
    const inbox = new Inbox(log, await store.checkpoint(log, inboxConsumer))
    return new ActiveFunction(options, inbox, await StateSpace.open(store, name))
  }

  get log(): Inbox['log'] {
    return this.inbox.log
  }

  get revision(): Revision | undefined {
    return this.#revision
  }

  record(message: Message, qos: Qos): RecordInput {
    if (this.#liveTopics !== undefined && this.#liveTopics.size < retainedFirstMax)
      this.#liveTopics.add(message.topic)
    const record = toRecord(message, lower(message.qos, qos))
    const expiresAt = expiryOf(this.#revision?.manifest.topics ?? [], message)
    const kept = expiresAt === undefined ? record : { ...record, expiresAt }
    // [MQTT-3.3.1-9]: only what is delivered because of a new subscription carries RETAIN.
    return message.retain ? { ...kept, retain: false } : kept
  }

  /** Takes up the revision that was current when the daemon stopped. */
  resume(revision: Revision): void {
    this.#subscribe(revision)
    this.#revision = revision
    this.runner.use(revision)
  }

  /**
   * Subscribes to what is new in the revision and stages the retained values of filters that are not in
   * `knownFilters`. To be followed by the commit of `tx` and `use`.
   */
  async stageFilters(tx: Transaction, revision: Revision, knownFilters: readonly string[]): Promise<void> {
    this.#liveTopics = new Set()
    this.#subscribe(revision)
    const first = new Map<string, RecordInput>()
    let bytes = 0
    for (const { topic: filter, retained, qos } of revision.manifest.topics) {
      if (!retained || knownFilters.includes(filter)) continue
      for await (const value of this.#options.router.retained.match(filter)) {
        if (first.has(value.topic)) continue
        bytes += value.payload.length + value.topic.length + recordEnvelopeBytes
        if (first.size >= retainedFirstMax || bytes > retainedFirstMaxBytes) break
        first.set(value.topic, { ...value, qos: lower(value.qos, qos), retain: true })
      }
    }
    for (const [topic, value] of first) if (!this.#liveTopics.has(topic)) tx.append(this.log, value)
    this.#liveTopics = undefined
  }

  /** Runs the revision from now on and lets go of filters that it does not have. */
  use(revision: Revision): void {
    const wanted = new Set(revision.manifest.topics.map(({ topic }) => topic))
    for (const { topic } of this.#revision?.manifest.topics ?? [])
      if (!wanted.has(topic)) this.#options.router.unsubscribe(this, topic)
    this.#revision = revision
    this.runner.use(revision)
  }

  /** Takes no new messages and ends what is in hand. Inbox, state and dead letters stay. */
  async detach(graceMs: number): Promise<void> {
    this.#options.router.remove(this)
    await this.runner.drain(graceMs)
    this.#options.sandbox.unload(this.name)
    this.#waiters.fail(new FescueError('FESCUE_FUNCTION_UNAVAILABLE', `the folder of "${this.name}" is gone`))
  }

  async drain(graceMs: number): Promise<void> {
    await this.runner.drain(graceMs)
    this.stop()
  }

  stop(): void {
    this.runner.stop()
    this.#waiters.fail(
      new FescueError('FESCUE_STOPPING', 'the daemon is stopping; the message runs after the restart'),
    )
  }

  /**
   * Appends a message to the inbox and resolves with its outcome once that is committed. A failure is an
   * outcome, and is not tried again while the caller waits. Errors: FESCUE_FUNCTION_TIMEOUT (no outcome yet),
   * FESCUE_FUNCTION_UNAVAILABLE, FESCUE_STORE_FULL, FESCUE_TOPIC_INVALID, FESCUE_STOPPING.
   */
  async invoke(
    payload: Buffer,
    { topic = `$invoke/${this.name}`, timeoutMs = 30_000 }: InvokeOptions,
  ): Promise<InvokeOutcome> {
    const { store, clock } = this.#options
    const problem = problemOfTopic(topic)
    if (problem !== undefined)
      throw new FescueError('FESCUE_TOPIC_INVALID', `the topic "${topic}" ${problem}`)
    this.#checkRunning()
    this.#waiters.checkRoom(this.name)
    const room = this.log.room(payload.length + topic.length + recordEnvelopeBytes, true)
    if (room !== 'fits' || !store.accepting)
      throw new FescueError('FESCUE_STORE_FULL', `the inbox of "${this.name}" takes no more now`)
    const tx = new Transaction().require('power')
    const origin = originText({ kind: 'http' })
    const appended = tx.append(this.log, { time: clock.now(), topic, payload, qos: 1, origin })
    store.commit(tx, error => {
      if (error !== undefined) this.#waiters.fail(error, appended.offset)
    })
    return this.#waiters.wait(appended.offset, this.name, timeoutMs)
  }

  /** Why it cannot run now, or undefined. */
  get unavailable(): string | undefined {
    const { runner } = this
    if (runner.disabledReason !== undefined) return `disabled: ${runner.disabledReason}`
    if (runner.breaker.kind === 'closed') return undefined
    const error = runner.lastError?.error
    return `it fails again and again: ${error?.errorType}: ${error?.errorMessage}`
  }

  #checkRunning(): void {
    const why = this.unavailable
    if (why !== undefined)
      throw new FescueError(
        'FESCUE_FUNCTION_UNAVAILABLE',
        `function "${this.name}" takes no calls now: ${why}`,
      )
  }

  #subscribe(revision: Revision): void {
    for (const { topic, qos } of revision.manifest.topics) this.#options.router.subscribe(this, topic, qos)
  }
}

function lower(a: Qos, b: Qos): Qos {
  return a === 0 || b === 0 ? 0 : a === 1 || b === 1 ? 1 : 2
}
