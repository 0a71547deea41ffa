/**
 * Counters and histograms as plain numbers: what parts count on each message costs an addition, and becomes samples
 * when it is scraped. (prom-client's own look up the label set at each call: 5 % of the daemon's time at full load.)
 *
 *   part ──add──► CounterTally ──┐
 *   part ──observe─► HistogramTally ─┴─get()─► registry ─► text
 */
import type { Counter, Histogram, Labels } from '#base/metrics.ts'

/** One line of the text format. */
export interface Sample {
  readonly labels: Readonly<Record<string, string | number>>
  readonly value: number
  /** Where it differs from the family's. */
  readonly metricName?: string
}

class CounterTally implements Counter {
  readonly #labels: Labels
  #value = 0

  constructor(labels: Labels) {
    this.#labels = labels
  }

  add(amount = 1): void {
    this.#value += amount
  }

  samples(): readonly Sample[] {
    return [{ labels: this.#labels, value: this.#value }]
  }
}

class HistogramTally implements Histogram {
  readonly #name: string
  readonly #labels: Labels
  readonly #bounds: readonly number[]
  /** By bucket, not summed up; the last one is above all bounds. */
  readonly #counts: number[]
  #sum = 0

  constructor(name: string, labels: Labels, bounds: readonly number[]) {
    this.#name = name
    this.#labels = labels
    this.#bounds = bounds
    this.#counts = new Array(bounds.length + 1).fill(0)
  }

  observe(seconds: number): void {
    const bounds = this.#bounds
    let bucket = 0
    while (bucket < bounds.length && seconds > (bounds[bucket] ?? 0)) bucket++
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1
    this.#sum += seconds
  }

  samples(): readonly Sample[] {
    const samples: Sample[] = []
    let count = 0
    this.#counts.forEach((inBucket, bucket) => {
      count += inBucket
      const le = this.#bounds[bucket] ?? '+Inf'
      samples.push({ labels: { le, ...this.#labels }, value: count, metricName: `${this.#name}_bucket` })
    })
    samples.push({ labels: this.#labels, value: this.#sum, metricName: `${this.#name}_sum` })
    samples.push({ labels: this.#labels, value: count, metricName: `${this.#name}_count` })
    return samples
  }
}

type Tally = CounterTally | HistogramTally

/** All label sets of one metric, in the shape that prom-client's registry asks for. */
export class TallyFamily<Kind extends Tally = Tally> {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'histogram'
  readonly #make: (labels: Labels) => Kind
  readonly #setsMax: number
  readonly #byLabels = new Map<string, Kind>()

  private constructor(
    head: { readonly name: string; readonly help: string; readonly type: 'counter' | 'histogram' },
    setsMax: number,
    make: (labels: Labels) => Kind,
  ) {
    this.name = head.name
    this.help = head.help
    this.type = head.type
    this.#setsMax = setsMax
    this.#make = make
  }

  static counter(name: string, help: string, setsMax: number): TallyFamily<CounterTally> {
    return new TallyFamily({ name, help, type: 'counter' }, setsMax, labels => new CounterTally(labels))
  }

  static histogram(
    name: string,
    help: string,
    setsMax: number,
    bounds: readonly number[],
  ): TallyFamily<HistogramTally> {
    const make = (labels: Labels) => new HistogramTally(name, labels, bounds)
    return new TallyFamily({ name, help, type: 'histogram' }, setsMax, make)
  }

  /** The instrument of a label set; above `setsMax` all new ones share one set with every value `other` (D6). */
  of(labels: Labels): Kind {
    const known = this.#byLabels.get(keyOf(labels))
    if (known !== undefined) return known
    const isFull = this.#byLabels.size >= this.#setsMax
    const taken = isFull
      ? Object.fromEntries(Object.keys(labels).map(label => [label, 'other']))
      : { ...labels }
    const shared = this.#byLabels.get(keyOf(taken))
    if (shared !== undefined) return shared
    const tally = this.#make(taken)
    this.#byLabels.set(keyOf(taken), tally)
    return tally
  }

  async get(): Promise<object> {
    const values = [...this.#byLabels.values()].flatMap((tally): readonly Sample[] => tally.samples())
    return { name: this.name, help: this.help, type: this.type, values, aggregator: 'sum' }
  }
}

function keyOf(labels: Labels): string {
  return JSON.stringify(Object.entries(labels).sort())
}
