/**
 * Callers that wait for the outcome of one invocation, by the offset of its record in the inbox. They are
 * answered once the outcome is committed (D1). Bounded in number and time (D6).
 */
import type { Clock } from '#base/clock.ts'
import { FescueError } from '#base/errors.ts'
import type { InvocationId, Offset } from '#base/ids.ts'
import type { ErrorDocument } from '#sandbox/sandbox.ts'

/** How an invocation by request ended. A failed one is not tried again: the caller knows. */
export type InvokeOutcome =
  | {
      readonly kind: 'ok'
      readonly invocationId: InvocationId
      /** JSON text of what the handler returned. */
      readonly value: string
      readonly durationMs: number
      /** Messages published. */
      readonly published: number
    }
  | {
      readonly kind: 'failed' | 'timeout'
      readonly invocationId: InvocationId
      readonly error: ErrorDocument
      readonly durationMs: number
    }

/** Callers of one function that may wait at once. */
export const waitersMax = 1_024

interface Waiter {
  readonly resolve: (outcome: InvokeOutcome) => void
  readonly reject: (error: FescueError) => void
  readonly cancel: () => void
}

export class Waiters {
  readonly #clock: Clock
  readonly #waiters = new Map<Offset, Waiter>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    return this.#waiters.size
  }

  has(offset: Offset): boolean {
    return this.#waiters.has(offset)
  }

  /** Errors: FESCUE_FUNCTION_UNAVAILABLE when too many wait. To be asked before the record is appended. */
  checkRoom(name: string): void {
    if (this.#waiters.size < waitersMax) return
    throw new FescueError('FESCUE_FUNCTION_UNAVAILABLE', `${waitersMax} callers wait for "${name}" already`)
  }

  /** Errors: FESCUE_FUNCTION_TIMEOUT (no outcome yet: the message stays in the inbox), FESCUE_STOPPING. */
  wait(offset: Offset, name: string, timeoutMs: number): Promise<InvokeOutcome> {
    return new Promise((resolve, reject) => {
      const cancel = this.#clock.after(timeoutMs, () => {
        this.#waiters.delete(offset)
        const text = `no result of "${name}" within ${timeoutMs} ms; the message stays in its inbox and runs`
        reject(new FescueError('FESCUE_FUNCTION_TIMEOUT', text))
      })
      this.#waiters.set(offset, { resolve, reject, cancel })
    })
  }

  answer(offset: Offset, outcome: InvokeOutcome): void {
    this.#take(offset)?.resolve(outcome)
  }

  /** Fails one or all: the daemon stops, or the function is gone. */
  fail(error: FescueError, offset?: Offset): void {
    for (const each of offset === undefined ? [...this.#waiters.keys()] : [offset])
      this.#take(each)?.reject(error)
  }

  #take(offset: Offset): Waiter | undefined {
    const waiter = this.#waiters.get(offset)
    this.#waiters.delete(offset)
    waiter?.cancel()
    return waiter
  }
}
