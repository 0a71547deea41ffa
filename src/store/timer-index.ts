/**
 * Which timers are due, in memory: kind, due time and id of each (payloads are on disk). Loaded at open,
 * changed when a transaction is handed in, so pending ones are seen. At most `timersMax` (D6).
 */
import { SortedKeys } from './sorted-keys.ts'

export const timersMax = 100_000

interface Known {
  readonly kind: string
  readonly dueAt: number
}

const dueDigits = 12

export class TimerIndex {
  readonly #known = new Map<string, Known>()
  readonly #order = new SortedKeys()

  get size(): number {
    return this.#known.size
  }

  has(id: string): boolean {
    return this.#known.has(id)
  }

  /** Adds a timer, or moves it. */
  set(id: string, kind: string, dueAt: number): void {
    this.delete(id)
    this.#known.set(id, { kind, dueAt })
    this.#order.add(orderKey(kind, dueAt, id))
  }

  delete(id: string): boolean {
    const known = this.#known.get(id)
    if (known === undefined) return false
    this.#known.delete(id)
    this.#order.delete(orderKey(known.kind, known.dueAt, id))
    return true
  }

  /** Ids due at or before `now`, earliest first. */
  due(kind: string, now: number, limit: number): string[] {
    return this.#order
      .range(`${kind}\0`, orderKey(kind, now + 1, ''))
      .take(limit)
      .map(key => key.slice(kind.length + 1 + dueDigits))
      .toArray()
  }

  nextAt(kind: string): number | undefined {
    const first = this.#order.range(`${kind}\0`, `${kind}\u0001`).next()
    if (first.done) return undefined
    return Number.parseInt(first.value.slice(kind.length + 1, kind.length + 1 + dueDigits), 16)
  }
}

const orderKey = (kind: string, dueAt: number, id: string): string =>
  `${kind}\0${Math.max(0, Math.floor(dueAt)).toString(16).padStart(dueDigits, '0')}${id}`
