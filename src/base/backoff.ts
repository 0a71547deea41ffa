/**
 * Growing waits with full jitter, reset only once things have held.
 *
 * A peer that accepts and drops at once would be dialled at the floor for ever if success reset the wait; so
 * `held()` is called by the owner after the connection has stood for a while, not when it opens.
 */
export interface BackoffOptions {
  readonly initialMs: number
  readonly maxMs: number
  /** Source of jitter in [0, 1); Math.random unless a test seeds it. */
  readonly random?: () => number
}

export class Backoff {
  readonly #options: BackoffOptions
  #attempt = 0

  constructor(options: BackoffOptions) {
    this.#options = options
  }

  /** Waits taken since the last `held()`. */
  get attempt(): number {
    return this.#attempt
  }

  /** The next wait: uniform in (0, min(maxMs, initialMs * 2^attempt)], at least 1 ms. */
  nextMs(): number {
    const { initialMs, maxMs, random = Math.random } = this.#options
    const ceiling = Math.min(maxMs, initialMs * 2 ** Math.min(this.#attempt, 40))
    this.#attempt += 1
    return Math.max(1, Math.round(random() * ceiling))
  }

  held(): void {
    this.#attempt = 0
  }
}
