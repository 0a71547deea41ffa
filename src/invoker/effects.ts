/**
 * Turns what an invocation did into operations of one transaction (D2).
 *
 *   Success.effects ─► problemOf: grants, hops, bounds ─► stage: router.stage (outputs) · StateSpace.apply
 *
 * Either all effects of an invocation are staged or none: everything that may refuse is asked first.
 */
import type { ErrorCode } from '#base/errors.ts'
import { hopsMax, type Origin } from '#router/message.ts'
import { type Router, recordEnvelopeBytes } from '#router/router.ts'
import type { Effect, Success } from '#sandbox/sandbox.ts'
import type { LogRecord } from '#store/record.ts'
import type { Transaction } from '#store/transaction.ts'
import type { PublishGrants } from './grants.ts'
import type { StateSpace } from './state-space.ts'

/** Effects of one invocation (D6). */
export const effectsMax = 1_024
/** Records that one invocation may append, each consumer's copy counted (D6). */
export const copiesMax = 8_192
/** Bytes that one invocation's effects may add to a batch, each consumer's copy counted (D6). */
export const effectsMaxBytes = 4 * 1024 * 1024

export interface EffectsProblem {
  readonly code: ErrorCode
  readonly message: string
}

/** How much an invocation did; for bounds, rates and events. */
export interface EffectsSize {
  readonly bytes: number
  readonly published: number
}

export class EffectsStage {
  readonly #router: Router
  readonly #state: StateSpace
  readonly #origin: Origin

  constructor(name: string, router: Router, state: StateSpace) {
    this.#router = router
    this.#state = state
    this.#origin = { kind: 'function', name }
  }

  /** What forbids the effects as a whole, or their size. Stages nothing. */
  measure(success: Success, input: LogRecord, grants: PublishGrants): EffectsProblem | EffectsSize {
    const { effects } = success
    if (effects.length === 0) return { bytes: success.value.length, published: 0 }
    if (effects.length > effectsMax)
      return tooLarge(`${effects.length} effects, at most ${effectsMax} are allowed`)
    let bytes = success.value.length
    let published = 0
    let records = 0
    for (const effect of effects) {
      if (effect.type === 'publish') {
        const refusal = grants.refusal(effect.topic)
        if (refusal !== undefined) return { code: 'FESCUE_PERMISSION_DENIED', message: refusal }
        published += 1
        const copies = Math.max(1, this.#router.consumersOf(effect.topic).length + (effect.retain ? 1 : 0))
        records += copies
        bytes += copies * (effect.payload.length + effect.topic.length + recordEnvelopeBytes)
      } else {
        bytes += effect.key.length + (effect.type === 'set' ? effect.value.length : 0)
      }
    }
    if (published > 0 && (input.hops ?? 0) + 1 >= hopsMax) {
      const message = `the message passed ${hopsMax} functions: two of them publish to each other's triggers`
      return { code: 'FESCUE_LOOP', message }
    }
    if (records > copiesMax) return tooLarge(`${records} records to write, at most ${copiesMax} are allowed`)
    if (bytes > effectsMaxBytes)
      return tooLarge(`effects of ${bytes} bytes, at most ${effectsMaxBytes} are allowed`)
    return this.#state.problemOf(effects) ?? { bytes, published }
  }

  /** Stages all effects; `measure` found no problem. `time` is the clock of the run's end. */
  stage(tx: Transaction, effects: readonly Effect[], input: LogRecord, time: number): void {
    for (const effect of effects) {
      if (effect.type !== 'publish') {
        this.#state.apply(tx, effect)
        continue
      }
      // A function's message never answers `wait`: the invoker held the run back while a log was full.
      this.#router.stage(tx, {
        topic: effect.topic,
        payload: effect.payload,
        qos: effect.qos,
        retain: effect.retain,
        time,
        origin: this.#origin,
        hops: (input.hops ?? 0) + 1,
        ...(input.trace === undefined ? {} : { trace: input.trace }),
      })
    }
  }
}

function tooLarge(message: string): EffectsProblem {
  return { code: 'FESCUE_TRANSACTION_TOO_LARGE', message: `the invocation has ${message}` }
}
