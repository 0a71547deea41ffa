/** The backend that keeps nothing: for tests, and for a daemon that is told to. Order and atomicity as LevelDB. */
import { FescueError } from '#base/errors.ts'
import type { Backend, BackendOperation, Entry, RangeQuery } from './backend.ts'
import { SortedKeys } from './sorted-keys.ts'

export class MemoryBackend implements Backend {
  readonly #values = new Map<string, Buffer>()
  readonly #order = new SortedKeys()
  #closed = false

  async get(key: Buffer): Promise<Buffer | undefined> {
    this.#check()
    return this.#values.get(key.toString('latin1'))
  }

  async range(query: RangeQuery): Promise<Entry[]> {
    return this.#entries(query)
  }

  async keys(query: RangeQuery): Promise<Buffer[]> {
    return this.#entries(query).map(([key]) => key)
  }

  async batch(operations: readonly BackendOperation[], _sync: boolean): Promise<void> {
    this.#check()
    for (const operation of operations) {
      const key = operation.key.toString('latin1')
      if (operation.type === 'del') {
        if (this.#values.delete(key)) this.#order.delete(key)
        continue
      }
      if (!this.#values.has(key)) this.#order.add(key)
      this.#values.set(key, operation.value)
    }
  }

  async compactRange(): Promise<void> {}

  async reopen(): Promise<void> {
    this.#check()
  }

  async close(): Promise<void> {
    this.#closed = true
  }

  #entries({ gte, lt, limit, maxBytes = Number.POSITIVE_INFINITY, reverse = false }: RangeQuery): Entry[] {
    this.#check()
    const from = gte.toString('latin1')
    const to = lt.toString('latin1')
    const entries: Entry[] = []
    let bytes = 0
    for (const key of reverse ? this.#order.reverse(from, to) : this.#order.range(from, to)) {
      const value = this.#values.get(key)
      if (value === undefined) continue
      entries.push([Buffer.from(key, 'latin1'), value])
      bytes += key.length + value.length
      if (entries.length >= limit || bytes >= maxBytes) break
    }
    return entries
  }

  #check(): void {
    if (this.#closed) throw new FescueError('FESCUE_STORE_CLOSED', 'the store is closed')
  }
}
