/** Waits and bounds of a link, and their defaults. */
export interface Timings {
  /** First and longest wait before connecting again; each is drawn between 0 and a doubling ceiling. */
  readonly reconnectInitialMs: number
  readonly reconnectMaxMs: number
  /** A connection that stood this long ends the backoff. */
  readonly heldMs: number
  /** First and longest wait after refused credentials. */
  readonly refusedInitialMs: number
  readonly refusedMaxMs: number
  /** Time for an answer, besides what the bytes take at the rate measured. */
  readonly requestTimeoutMs: number
  /** Time between two looks whether an idle receiver is still there. */
  readonly probeMs: number
  /** Wait before a rejected record is tried again, times the attempt. */
  readonly poisonWaitMs: number
  /** Wait when there are records that cannot be read yet. */
  readonly unreadyMs: number
  readonly batchMaxBytes: number
  readonly batchMaxRecords: number
}

export const defaultTimings: Timings = {
  reconnectInitialMs: 500,
  reconnectMaxMs: 60_000,
  heldMs: 10_000,
  refusedInitialMs: 30_000,
  refusedMaxMs: 600_000,
  requestTimeoutMs: 15_000,
  probeMs: 30_000,
  poisonWaitMs: 1_000,
  unreadyMs: 100,
  batchMaxBytes: 1024 * 1024,
  batchMaxRecords: 2_000,
}
