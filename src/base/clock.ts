/** Time as an argument: everything that waits or stamps takes a Clock, so that tests can turn it. */
export interface Clock {
  /** Milliseconds since the Unix epoch; may jump. */
  now(): number
  /** Milliseconds from an arbitrary start; never goes back. For deadlines and durations. */
  monotonic(): number
  /** Calls once after `delayMs`; the returned function cancels. Does not keep the process alive. */
  after(delayMs: number, callback: () => void): () => void
}

/** The longest delay a Node timer takes; longer ones are cut and the caller looks again. */
export const timerMaxMs = 2 ** 31 - 1

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, Math.min(Math.max(delayMs, 0), timerMaxMs))
    timer.unref()
    return () => clearTimeout(timer)
  },
}

/** Resolves after `delayMs` or at once when `signal` aborts; never rejects. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal?.aborted) return resolve()
    const finish = () => {
      cancel()
      signal?.removeEventListener('abort', finish)
      resolve()
    }
    const cancel = clock.after(delayMs, finish)
    signal?.addEventListener('abort', finish, { once: true })
  })
}
