/** Seeded randomness: a run that failed is repeated with `SEED=…`. */
export interface Random {
  readonly seed: number
  /** Uniform in [0, 1). */
  next(): number
  /** Uniform integer in [from, to). */
  int(from: number, to: number): number
  pick<T>(items: readonly T[]): T
}

/** mulberry32. Takes `SEED` from the environment, else a seed of the moment; the caller prints it. */
export function seededRandom(seed: number = Number(process.env.SEED ?? Date.now() % 2 ** 31)): Random {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const int = (from: number, to: number) => from + Math.floor(next() * (to - from))
  return { seed, next, int, pick: items => items[int(0, items.length)]! }
}
