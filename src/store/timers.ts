/** Durable timers by due time: what `Transaction.schedule` writes and the invoker's and broker's clocks read. */
export interface Timer {
  /** Unique; scheduling an id again moves it. */
  readonly id: string
  /** Milliseconds since the epoch. */
  readonly dueAt: number
  /** Who handles it: `schedule`, `will`. */
  readonly kind: string
  /** JSON for the handler. */
  readonly payload: string
}
