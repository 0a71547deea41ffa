/**
 * Holds a function back while a log that it may publish to is full and blocks: room for the outputs of an
 * invocation is made before it is dispatched, because nothing waits inside a batch. At most `holdMaxMs`: two
 * functions that feed each other must not stand still for ever.
 */
import type { Clock } from '#base/clock.ts'
import type { DurableConsumer } from '#router/consumer.ts'
import type { Router } from '#router/router.ts'
import type { CommitLog } from '#store/commit-log.ts'

export const holdMaxMs = 10_000
/** Subscriptions may change often, the list of consumers is made anew at most this often. */
const refreshMs = 1_000
/** Room that a log must have for the gate to be open. */
const roomBytes = 4_096

export class OutputGate {
  readonly #router: Router
  readonly #clock: Clock
  readonly #own: CommitLog
  #filters: readonly string[] = []
  #consumers: readonly DurableConsumer[] = []
  #version = -1
  #refreshedAt = Number.NEGATIVE_INFINITY
  #heldSince: number | undefined

  constructor(router: Router, clock: Clock, own: CommitLog) {
    this.#router = router
    this.#clock = clock
    this.#own = own
  }

  /** Another revision: other grants. */
  use(filters: readonly string[]): void {
    this.#filters = filters
    this.#version = -1
    this.#refreshedAt = Number.NEGATIVE_INFINITY
  }

  /** The log to wait for and how long, or undefined when the function may run. */
  hold(): { readonly log: CommitLog; readonly waitMs: number } | undefined {
    const log = this.#fullLog()
    const now = this.#clock.monotonic()
    if (log === undefined) {
      this.#heldSince = undefined
      return undefined
    }
    this.#heldSince ??= now
    const waitMs = this.#heldSince + holdMaxMs - now
    if (waitMs > 0) return { log, waitMs }
    this.#heldSince = undefined
    return undefined
  }

  #fullLog(): CommitLog | undefined {
    if (this.#filters.length === 0) return undefined
    this.#refresh()
    for (const { log } of this.#consumers)
      if (log !== this.#own && log.limits.overflow === 'block' && log.room(roomBytes, true) === 'wait')
        return log
    return undefined
  }

  #refresh(): void {
    if (this.#version === this.#router.version) return
    const now = this.#clock.monotonic()
    if (now - this.#refreshedAt < refreshMs) return
    this.#refreshedAt = now
    this.#version = this.#router.version
    this.#consumers = this.#router.consumersReaching(this.#filters)
  }
}
