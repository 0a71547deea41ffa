/** The nearest known name to a mistyped one, for "did you mean": optimal string alignment, case ignored. */

/** Names longer than this are not compared (D6): the work grows with the product of the lengths. */
const comparedLengthMax = 100

/**
 * The candidate with the fewest edits (insert, delete, replace, swap of neighbours) from `word`, or undefined
 * when the best needs more than a third of the word's length (at least one edit is allowed).
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  if (word.length > comparedLengthMax) return undefined
  const allowed = Math.max(1, Math.floor(word.length / 3))
  let best: string | undefined
  let bestEdits = allowed + 1
  for (const candidate of candidates) {
    if (candidate.length > comparedLengthMax || Math.abs(candidate.length - word.length) >= bestEdits)
      continue
    const edits = editDistance(word.toLowerCase(), candidate.toLowerCase())
    if (edits < bestEdits) {
      best = candidate
      bestEdits = edits
    }
  }
  return best
}

/** Edits between two texts, a swap of two neighbours counting as one. */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = at(last, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1)
      let edits = Math.min(replaced, at(last, j) + 1, at(row, j - 1) + 1)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        edits = Math.min(edits, at(beforeLast, j - 2) + 1)
      row.push(edits)
    }
    beforeLast = last
    last = row
  }
  return at(last, b.length)
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Number.POSITIVE_INFINITY
}
