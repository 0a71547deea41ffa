/** Bounds the lines that strangers can make us log: so many a window, then only a count. */
import type { Clock } from '#base/clock.ts'
import type { Logger } from '#base/logger.ts'

export const logLinesPerWindowMax = 30
const windowMs = 10_000

export class LogBudget {
  readonly #clock: Clock
  readonly #logger: Logger
  #windowEndsAt = 0
  #lines = 0
  #suppressed = 0

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock
    this.#logger = logger
  }

  warn(fields: object, message: string): void {
    const now = this.#clock.monotonic()
    if (now >= this.#windowEndsAt) {
      if (this.#suppressed > 0) this.#logger.warn({ suppressed: this.#suppressed }, 'more lines like these')
      this.#windowEndsAt = now + windowMs
      this.#lines = 0
      this.#suppressed = 0
    }
    if (this.#lines < logLinesPerWindowMax) {
      this.#lines += 1
      this.#logger.warn(fields, message)
    } else {
      this.#suppressed += 1
    }
  }
}
