/**
 * The registry behind `base/metrics.ts`, over prom-client, in the Prometheus text format.
 *
 * Only two files of prom-client are loaded: all of it costs 5 MB resident, for cluster mode, push gateway and
 * default metrics that are not used. What is counted on each message is in `tallies.ts`. A label set that is new when a metric already has
 * `labelSetsMax` goes to one shared set with every value `other`, so that names from outside cannot grow the
 * memory (D6).
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Metric } from 'prom-client'
import Gauge from 'prom-client/lib/gauge.js'
import Registry from 'prom-client/lib/registry.js'
import type { Counter, Histogram, Labels, Metrics } from '#base/metrics.ts'
import { TallyFamily } from './tallies.ts'

/** What `/metrics` answers. */
export interface Exposition {
  readonly contentType: string
  text(): Promise<string>
}

/** Label sets of one metric. */
export const labelSetsMax = 1_000
/** Seconds; from a warm call (15 µs) to the longest timeout. */
const buckets = [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
/** How often the event-loop delay is looked at: ten wake-ups a second. */
const delayResolutionMs = 100

export class PromMetrics implements Metrics, Exposition {
  readonly #registry = new Registry()
  readonly #labelSets = new Map<string, Set<string>>()

  get contentType(): string {
    return this.#registry.contentType
  }

  text(): Promise<string> {
    return this.#registry.metrics()
  }

  counter(name: string, help: string, labels: Labels = {}): Counter {
    return this.#family(name, () => TallyFamily.counter(name, help, labelSetsMax)).of(labels)
  }

  gauge(name: string, help: string, labels: Labels = {}): { set(value: number): void } {
    const registers = [this.#registry]
    const known = this.#registry.getSingleMetric(name) as Gauge | undefined
    const metric = known ?? new Gauge({ name, help, labelNames: Object.keys(labels), registers })
    const child = metric.labels(this.#bounded(name, labels))
    return { set: value => child.set(value) }
  }

  histogram(name: string, help: string, labels: Labels = {}): Histogram {
    return this.#family(name, () => TallyFamily.histogram(name, help, labelSetsMax, buckets)).of(labels)
  }

  collect(
    name: string,
    help: string,
    labelNames: readonly string[],
    read: () => Iterable<{ labels: Labels; value: number }>,
  ): void {
    const isCounter = name.endsWith('_total')
    const metric = new Gauge({
      name,
      help,
      labelNames: [...labelNames],
      registers: [this.#registry],
      collect() {
        metric.reset()
        let sets = 0
        for (const { labels, value } of read()) if (++sets <= labelSetsMax) metric.set({ ...labels }, value)
      },
    })
    // A value read from elsewhere can be a counter; prom-client's own class only counts up by itself.
    if (isCounter) Object.assign(metric, { type: 'counter' })
  }

  #family<Family extends TallyFamily>(name: string, make: () => Family): Family {
    const known = this.#registry.getSingleMetric(name)
    if (known !== undefined) return known as unknown as Family
    const family = make()
    this.#registry.registerMetric(family as unknown as Metric)
    return family
  }

  #bounded(name: string, labels: Labels): Record<string, string> {
    let sets = this.#labelSets.get(name)
    if (sets === undefined) {
      sets = new Set()
      this.#labelSets.set(name, sets)
    }
    const key = JSON.stringify(Object.entries(labels).sort())
    if (!sets.has(key) && sets.size >= labelSetsMax)
      return Object.fromEntries(Object.keys(labels).map(label => [label, 'other']))
    sets.add(key)
    return { ...labels }
  }
}

/** The process itself: memory, CPU, event-loop delay, build. The returned function ends the sampling. */
export function observeProcess(metrics: Metrics, version: string): () => void {
  const one = (value: number) => [{ labels: {}, value }]
  const delay = monitorEventLoopDelay({ resolution: delayResolutionMs })
  delay.enable()
  const startedAt = Date.now() / 1_000 - process.uptime()
  const add = metrics.collect.bind(metrics)
  add('process_resident_memory_bytes', 'Resident memory of the daemon.', [], () =>
    one(process.memoryUsage.rss()),
  )
  add('process_cpu_seconds_total', 'CPU time of the daemon.', [], () => {
    const { user, system } = process.cpuUsage()
    return one((user + system) / 1e6)
  })
  add('process_start_time_seconds', 'Start of the daemon since the epoch.', [], () => one(startedAt))
  add('fescue_event_loop_delay_seconds', 'p99 of the event-loop delay since the last scrape.', [], () => {
    // Node records the distance between two looks, the wanted one included.
    const p99 = delay.percentile(99) / 1e9 - delayResolutionMs / 1e3
    delay.reset()
    return one(Math.max(0, p99))
  })
  add('fescue_build_info', 'Version of Fescue and Node.', ['version', 'node'], () => [
    { labels: { version, node: process.versions.node }, value: 1 },
  ])
  return () => delay.disable()
}
