/**
 * An ordered set of strings in code-unit order: a list of short sorted runs, so that an insertion moves at
 * most `runMax` entries and finding is two binary searches. For the in-memory backend and the timers.
 */
const runMax = 512

export class SortedKeys {
  readonly #runs: string[][] = []

  /** Adds a key that is not in the set. */
  add(key: string): void {
    if (this.#runs.length === 0) {
      this.#runs.push([key])
      return
    }
    const index = this.#runOf(key)
    const run = this.#runs[index] ?? []
    run.splice(lowerBound(run, key), 0, key)
    if (run.length > runMax) this.#runs.splice(index + 1, 0, run.splice(runMax / 2))
  }

  delete(key: string): boolean {
    const index = this.#runOf(key)
    const run = this.#runs[index]
    if (run === undefined) return false
    const at = lowerBound(run, key)
    if (run[at] !== key) return false
    run.splice(at, 1)
    if (run.length === 0) this.#runs.splice(index, 1)
    return true
  }

  /** Keys in [gte, lt), ascending. */
  *range(gte: string, lt: string): Generator<string> {
    for (let index = this.#runOf(gte); index < this.#runs.length; index++) {
      const run = this.#runs[index] ?? []
      for (let at = lowerBound(run, gte); at < run.length; at++) {
        const key = run[at] ?? ''
        if (key >= lt) return
        yield key
      }
    }
  }

  /** Keys in [gte, lt), descending. */
  *reverse(gte: string, lt: string): Generator<string> {
    for (let index = this.#runOf(lt); index >= 0; index--) {
      const run = this.#runs[index] ?? []
      for (let at = lowerBound(run, lt) - 1; at >= 0; at--) {
        const key = run[at] ?? ''
        if (key < gte) return
        yield key
      }
    }
  }

  /** Index of the last run that starts at or below the key, or 0. */
  #runOf(key: string): number {
    let low = 0
    let high = this.#runs.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#runs[middle]?.[0] ?? '') <= key) low = middle + 1
      else high = middle
    }
    return Math.max(0, low - 1)
  }
}

function lowerBound(run: readonly string[], key: string): number {
  let low = 0
  let high = run.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((run[middle] ?? '') < key) low = middle + 1
    else high = middle
  }
  return low
}
