/**
 * Retained messages: the last value of a topic, kept as a document and written in the batch that admits it.
 *
 * Only the topics are in memory; values are read when a client subscribes. At most `retainedMax` topics are
 * kept (D6); a retained message to a further topic is delivered but not kept, and `refused` counts it.
 */
import { filterMatches } from '#base/topics.ts'
import type { RecordInput } from '#store/record.ts'
import { decodeRecord, encodeRecord } from '#store/record-codec.ts'
import type { Store } from '#store/store.ts'
import type { Transaction } from '#store/transaction.ts'
import { type Message, toRecord } from './message.ts'

const space = 'retained'
export const retainedMax = 100_000

export class Retained {
  readonly #store: Store
  /** Each topic with the number of its last change, so that a reader notices one made while it read. */
  readonly #topics = new Map<string, number>()
  #changes = 0
  #refused = 0

  private constructor(store: Store) {
    this.#store = store
  }

  static async open(store: Store): Promise<Retained> {
    const retained = new Retained(store)
    for await (const { key } of store.list(space)) retained.#topics.set(key, 0)
    return retained
  }

  get size(): number {
    return this.#topics.size
  }

  /** Messages not kept because `retainedMax` was reached. */
  get refused(): number {
    return this.#refused
  }

  /** Writes or (with an empty payload, [MQTT-3.3.1-10]) removes the value of the message's topic. */
  stage(tx: Transaction, message: Message): void {
    this.stageRecord(tx, toRecord(message))
  }

  /** The same for a record that keeps fields of its own. */
  stageRecord(tx: Transaction, record: RecordInput): void {
    const { topic } = record
    if (record.payload.length === 0) {
      if (this.#topics.delete(topic)) tx.delete(space, topic)
      return
    }
    if (!this.#topics.has(topic) && this.#topics.size >= retainedMax) {
      this.#refused += 1
      return
    }
    this.#topics.set(topic, ++this.#changes)
    tx.put(space, topic, encodeRecord(record))
  }

  /**
   * Values of the topics that `filter` matches, in no order. Pending writes are seen, and a value that changes
   * while it is read is read again: who subscribed before never gets an older value after a newer one.
   */
  async *match(filter: string): AsyncGenerator<RecordInput> {
    for (const topic of this.#matching(filter)) {
      const value = await this.#read(topic)
      if (value !== undefined) yield decodeRecord(value)
    }
  }

  async #read(topic: string): Promise<Buffer | undefined> {
    for (;;) {
      const change = this.#topics.get(topic)
      if (change === undefined) return undefined
      const value = await this.#store.get(space, topic)
      if (this.#topics.get(topic) === change) return value
    }
  }

  #matching(filter: string): Iterable<string> {
    if (!filter.includes('+') && !filter.includes('#')) return this.#topics.has(filter) ? [filter] : []
    // Topics that come while the values are read lie behind those that are here now: they are delivered live.
    return this.#topics
      .keys()
      .take(this.#topics.size)
      .filter(topic => filterMatches(filter, topic))
  }
}
