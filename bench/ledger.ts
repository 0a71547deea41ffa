/**
 * What one observer saw of the effects of one publisher's messages. The function counts its messages in its state
 * and says the count with each output, `{ n, count }`. So the outputs alone tell the truth about the state:
 *
 *   n missing                      lost
 *   n with two counts              its effects happened twice
 *   count with two n, or a hole    a state change got lost or was doubled
 *
 * A copy of the same output (QoS 1 may deliver one again after a crash) has the same n and the same count.
 */

/** Violations that are spelled out; the rest is counted. */
const shownMax = 5

export class Ledger {
  readonly #countOf: number[] = []
  readonly #numberOf: number[] = []
  readonly #doubled: string[] = []
  readonly #outOfOrder: string[] = []
  #last = -1
  /** Messages whose effect was seen. */
  distinct = 0
  copies = 0

  see(n: number, count: number): void {
    const known = this.#countOf[n]
    if (known !== undefined) {
      if (known === count) this.copies += 1
      else this.#doubled.push(`message ${n} counted as ${known} and as ${count}`)
      return
    }
    const other = this.#numberOf[count]
    if (other !== undefined) this.#doubled.push(`count ${count} for messages ${other} and ${n}`)
    this.#countOf[n] = count
    this.#numberOf[count] = n
    this.distinct += 1
    if (n < this.#last) this.#outOfOrder.push(`${n} after ${this.#last}`)
    this.#last = n
  }

  /** Messages below `sent` without an effect. */
  lost(sent: number): number {
    let lost = 0
    for (let n = 0; n < sent; n++) if (this.#countOf[n] === undefined) lost += 1
    return lost
  }

  /** Effects beyond one of each message below `sent`: two outputs that differ, or a count above all messages. */
  doubled(sent: number): number {
    return Math.max(this.#doubled.length, this.#numberOf.length - 1 - sent)
  }

  /** What breaks the promise for messages 0 to `sent` - 1, in plain lines. */
  violations(name: string, sent: number): string[] {
    const problems: string[] = []
    const lost = this.lost(sent)
    if (lost > 0) problems.push(`${name}: ${lost} of ${sent} lost`)
    const doubled = this.doubled(sent)
    if (doubled > 0)
      problems.push(`${name}: ${doubled} doubled (${this.#doubled.slice(0, shownMax).join(', ')})`)
    if (this.#outOfOrder.length > 0) {
      const shown = this.#outOfOrder.slice(0, shownMax).join(', ')
      problems.push(`${name}: ${this.#outOfOrder.length} out of order (${shown})`)
    }
    return problems
  }
}
