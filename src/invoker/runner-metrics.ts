/** What is counted of one function; the names are fixed (`fescue_invocations_total`, `fescue_invocation_seconds`). */
import type { Counter, Histogram, Metrics } from '#base/metrics.ts'
import type { InvocationOutcome } from './invocation-event.ts'

const outcomes: readonly InvocationOutcome[] = ['success', 'error', 'timeout', 'killed', 'refused']

export class RunnerMetrics {
  readonly seconds: Histogram
  readonly deadLetters: Counter
  readonly #counters = new Map<InvocationOutcome, Counter>()
  readonly #counts = new Map<InvocationOutcome, number>()

  constructor(metrics: Metrics, name: string) {
    const labels = { function: name }
    const help = 'Runs of a function by outcome'
    for (const outcome of outcomes)
      this.#counters.set(outcome, metrics.counter('fescue_invocations_total', help, { ...labels, outcome }))
    this.seconds = metrics.histogram('fescue_invocation_seconds', 'Time inside the handler', labels)
    this.deadLetters = metrics.counter(
      'fescue_dead_letters_total',
      'Messages that became dead letters',
      labels,
    )
  }

  count(outcome: InvocationOutcome): void {
    this.#counters.get(outcome)?.add()
    this.#counts.set(outcome, this.counted(outcome) + 1)
  }

  /** Since the daemon started. */
  counted(outcome: InvocationOutcome): number {
    return this.#counts.get(outcome) ?? 0
  }

  get total(): number {
    return this.#counts.values().reduce((sum, count) => sum + count, 0)
  }
}
