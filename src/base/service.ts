/**
 * The one lifecycle contract (D7). Every long-lived part of the daemon has these verbs and nothing else.
 *
 *   starting ──► run() pending ──► drain(graceMs) ──► [Symbol.asyncDispose]()
 *
 * `run` settles only when the part ends; a rejection means "this part is broken" and ends the daemon.
 * `drain` takes no new work and finishes what is in hand within the grace. Disposing ends now; both are
 * idempotent.
 */
export interface Service extends AsyncDisposable {
  readonly name: string
  run(signal: AbortSignal): Promise<void>
  drain(graceMs: number): Promise<void>
}

/** Resolves when the signal aborts: what `run` of a part awaits that has nothing of its own to wait for. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise(resolve => signal.addEventListener('abort', () => resolve(), { once: true }))
}
