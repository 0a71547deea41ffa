/** What parts count: the interface; the Prometheus registry behind it is in `api/metrics.ts`. */
export interface Counter {
  add(amount?: number): void
}
export interface Gauge {
  set(value: number): void
}
export interface Histogram {
  observe(seconds: number): void
}

export type Labels = Readonly<Record<string, string>>

/**
 * Hands out one instrument per (name, labels); ask once and keep it, the look-up is not for hot paths.
 * `observeGauge` reads the value when the metrics are scraped.
 */
export interface Metrics {
  counter(name: string, help: string, labels?: Labels): Counter
  gauge(name: string, help: string, labels?: Labels): Gauge
  histogram(name: string, help: string, labels?: Labels): Histogram
  /** Registers values read at scrape time: each call of `read` gives the current label sets and values. */
  collect(
    name: string,
    help: string,
    labelNames: readonly string[],
    read: () => Iterable<{ labels: Labels; value: number }>,
  ): void
}

const counter: Counter = { add() {} }
const gauge: Gauge = { set() {} }
const histogram: Histogram = { observe() {} }
/** Metrics that go nowhere: for tests and tools. */
export const noMetrics: Metrics = {
  counter: () => counter,
  gauge: () => gauge,
  histogram: () => histogram,
  collect() {},
}
