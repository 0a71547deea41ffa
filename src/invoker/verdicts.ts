/**
 * Decides what becomes of each message that ran, and tells it: to the checkpoint and the log of dead letters
 * (through `Outcomes`), the breaker, metrics, listeners.
 *
 *   result ─► may it do that? ─ yes ─► succeed             ended ─► failed, timeout ─► attempts left? ─► postpone
 *                             └─ no ──► dead letter                                └─ none left ──────► dead letter
 *                                                                   killed, known ─► dead letter
 *                                                                   returned ──────► nothing charged
 *
 * What the daemon itself refuses (grants, bounds, loops) no further attempt can mend: a dead letter at once.
 */
import type { Clock } from '#base/clock.ts'
import type { BatchEnd, ErrorDocument, Success } from '#sandbox/sandbox.ts'
import type { BatchRun } from './batch-run.ts'
import type { Breaker } from './breaker.ts'
import { stateSeenMaxChars } from './dead-letter-log.ts'
import type { EffectsProblem, EffectsSize, EffectsStage } from './effects.ts'
import type { Inbox } from './inbox.ts'
import {
  effectsSummary,
  type InvocationEvent,
  type InvocationObservers,
  type InvocationOutcome,
} from './invocation-event.ts'
import type { Outcomes } from './outcomes.ts'
import type { PublishRate } from './publish-rate.ts'
import type { RunnerMetrics } from './runner-metrics.ts'
import { mapErrorTrace } from './stack-trace.ts'
import type { StateSpace } from './state-space.ts'
import type { Waiters } from './waiters.ts'

/** Longest wait between two attempts. */
export const retryBackoffMaxMs = 60_000

/** Last failure of a function, for `status`. */
export interface LastError {
  readonly error: ErrorDocument
  /** Milliseconds since the epoch. */
  readonly time: number
}

export interface VerdictsOptions {
  readonly name: string
  readonly clock: Clock
  readonly random: () => number
  readonly inbox: Inbox
  readonly state: StateSpace
  readonly effects: EffectsStage
  readonly outcomes: Outcomes
  readonly breaker: Breaker
  readonly rate: PublishRate
  readonly waiters: Waiters
  readonly observers: InvocationObservers
  readonly metrics: RunnerMetrics
}

export class Verdicts {
  readonly #options: VerdictsOptions
  #lastError: LastError | undefined
  /** Probes that failed on one record since the breaker opened. */
  #probed = { offset: -1, failures: 0 }

  constructor(options: VerdictsOptions) {
    this.#options = options
  }

  get lastError(): LastError | undefined {
    return this.#lastError
  }

  /** A result: its effects are staged and the answer is true, or it is refused and becomes a dead letter. */
  succeeded(run: BatchRun, index: number, success: Success): boolean {
    const { clock, effects, outcomes, breaker, rate, waiters, observers, metrics } = this.#options
    const at = run.at(index)
    if (at === undefined) return true
    const { record, item } = at
    const size: EffectsProblem | EffectsSize = effects.measure(success, record, run.batch.grants)
    if ('code' in size) {
      this.#refused(run, index, success, size)
      return false
    }
    const { invocationId } = item
    const { value, durationMs } = success
    const { published } = size
    const answer =
      waiters.size > 0 && waiters.has(record.offset)
        ? ({ kind: 'ok', invocationId, value, durationMs, published } as const)
        : undefined
    outcomes.succeed(record, success, size.bytes, clock.now(), answer)
    if (published > 0) rate.spend(published)
    breaker.succeeded()
    metrics.count('success')
    metrics.seconds.observe(durationMs / 1_000)
    run.lastResultAt = clock.monotonic()
    if (observers.wanted) this.#tell(run, index, 'success', 'done', success, undefined)
    return true
  }

  /** Charges whom the end of a batch charges. The items without a result stay open in the inbox. */
  ended(run: BatchRun, end: BatchEnd): void {
    switch (end.kind) {
      case 'done':
      case 'returned':
        return
      case 'broken':
        this.#note(mapErrorTrace(end.error, run.batch.revision.bundle.map))
        this.#options.breaker.trip()
        return
      case 'failed':
      case 'timeout':
        this.#failed(run, end.index, end.kind === 'failed' ? 'error' : 'timeout', end.error)
        return
      case 'killed': {
        this.#options.breaker.failed()
        if (end.index === undefined || run.isFinished(end.index)) {
          this.#note(end.error)
          return
        }
        this.#bury(run, end.index, 'killed', end.error, undefined)
        return
      }
    }
  }

  #failed(run: BatchRun, index: number, outcome: 'error' | 'timeout', raw: ErrorDocument): void {
    const { clock, inbox, outcomes, breaker, waiters, metrics } = this.#options
    const at = run.at(index)
    if (at === undefined || run.isFinished(index)) return
    const { record, item } = at
    const error = mapErrorTrace(raw, run.batch.revision.bundle.map)
    const { retry } = run.batch.revision.manifest
    const probing = breaker.state.kind !== 'closed'
    breaker.failed()
    const attempts = inbox.attemptsOf(record.offset) + (probing ? 0 : 1)
    const spent = attempts >= retry.attempts || (probing && this.#probesSpent(record.offset, retry.attempts))
    if (spent || waiters.has(record.offset)) {
      this.#bury(run, index, outcome, error, undefined)
      return
    }
    const waitMs = probing ? 0 : backoffMs(retry.backoffMs, attempts, this.#options.random)
    inbox.retryLater(record, item.orderKey, attempts, clock.now() + waitMs)
    outcomes.touch()
    metrics.count(outcome)
    this.#note(error)
    this.#tell(run, index, outcome, 'retry', undefined, error)
  }

  /**
   * An open breaker uses no attempts; but probing one bad record for ever would stop a function that is well,
   * so as many failed probes of one record as it had attempts end it too.
   */
  #probesSpent(offset: number, attemptsMax: number): boolean {
    if (this.#probed.offset !== offset) this.#probed = { offset, failures: 0 }
    this.#probed.failures += 1
    return this.#probed.failures >= attemptsMax
  }

  #refused(run: BatchRun, index: number, success: Success, problem: EffectsProblem): void {
    const error = { errorType: problem.code, errorMessage: problem.message, trace: [] }
    this.#bury(run, index, 'refused', error, success)
  }

  /** A dead letter; or, when a caller waits for the outcome, its answer: it decides about another try. */
  #bury(
    run: BatchRun,
    index: number,
    outcome: InvocationOutcome,
    error: ErrorDocument,
    success: Success | undefined,
  ): void {
    const { clock, inbox, state, outcomes, waiters, metrics } = this.#options
    const at = run.at(index)
    if (at === undefined) return
    const { record, item } = at
    metrics.count(outcome)
    this.#note(error)
    if (waiters.has(record.offset)) {
      const kind = outcome === 'timeout' ? 'timeout' : 'failed'
      const durationMs = clock.monotonic() - run.lastResultAt
      outcomes.tell(record, { kind, invocationId: item.invocationId, error, durationMs })
      this.#tell(run, index, outcome, 'answered', success, error)
      return
    }
    const cause = {
      error,
      attempts: item.attempt,
      revision: run.batch.revision.id,
      invocationId: item.invocationId,
      source: `${inbox.log.name}.${inbox.log.incarnation}/${record.offset}`,
      epoch: record.epoch,
      diedAt: clock.now(),
      state: state.recent(stateSeenMaxChars),
    }
    outcomes.bury(record, cause)
    metrics.deadLetters.add()
    this.#tell(run, index, outcome, 'dead-letter', success, error)
  }

  #note(error: ErrorDocument): void {
    this.#lastError = { error, time: this.#options.clock.now() }
  }

  #tell(
    run: BatchRun,
    index: number,
    outcome: InvocationOutcome,
    next: InvocationEvent['next'],
    success: Success | undefined,
    error: ErrorDocument | undefined,
  ): void {
    const { name, clock, observers } = this.#options
    const at = run.at(index)
    if (!observers.wanted || at === undefined) return
    const { record, item } = at
    const time = clock.now()
    const durationMs = success?.durationMs ?? clock.monotonic() - run.lastResultAt
    observers.invocation({
      function: name,
      revision: run.batch.revision.id,
      invocationId: item.invocationId,
      topic: record.topic,
      payload: record.payload,
      attempt: item.attempt,
      outcome,
      next,
      time,
      durationMs,
      queuedMs: Math.max(0, (success?.startedAt ?? time - durationMs) - record.time),
      ...effectsSummary(success),
      ...(error === undefined ? {} : { error }),
    })
  }
}

/** The wait before attempt `attempts` + 1: the double of the last, from half to whole at random, bounded. */
export function backoffMs(firstMs: number, attempts: number, random: () => number): number {
  const ceiling = Math.min(retryBackoffMaxMs, firstMs * 2 ** Math.min(attempts - 1, 30))
  return Math.round(ceiling * (0.5 + random() / 2))
}
