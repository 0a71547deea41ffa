/** Latencies in log-linear buckets, 64 to an octave: percentiles within 1.6 %, in bounded memory. */

const perOctave = 64
const octaves = 32

export class Histogram {
  readonly #counts = new Float64Array(perOctave * octaves)
  #total = 0
  #maxMs = 0

  add(ms: number): void {
    const us = Math.max(1, ms * 1000)
    const octave = Math.min(octaves - 1, Math.floor(Math.log2(us)))
    const step = Math.min(perOctave - 1, Math.floor((us / 2 ** octave - 1) * perOctave))
    this.#counts[octave * perOctave + step]! += 1
    this.#total += 1
    if (ms > this.#maxMs) this.#maxMs = ms
  }

  reset(): void {
    this.#counts.fill(0)
    this.#total = 0
    this.#maxMs = 0
  }

  get maxMs(): number {
    return this.#maxMs
  }

  /** The latency in ms that `share` (0 to 1) of all do not exceed; 0 when there are none. */
  at(share: number): number {
    let left = Math.ceil(this.#total * share)
    for (let i = 0; i < this.#counts.length; i++) {
      left -= this.#counts[i]!
      if (left <= 0 && this.#counts[i]! > 0)
        return (2 ** Math.floor(i / perOctave) * (1 + ((i % perOctave) + 1) / perOctave)) / 1000
    }
    return 0
  }
}
