/**
 * Which messages of a downlink were admitted already, for the moment when the broker sends one again because our
 * PUBACK did not reach it: by packet id and content, the newest `redeliveriesMax`, written with each admission.
 *
 * A message with DUP=1 whose id and content equal the newest entry of its id is the same one, as long as the
 * broker kept the session: it must resend with the same id [MQTT-4.4.0-1]. When it lost the session, `clear`.
 */
import { createHash } from 'node:crypto'
import type { Store } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'

const space = 'downlink'
/** Entries kept for an uplink; a broker has far fewer messages under way. */
export const redeliveriesMax = 1_024
const hashBytes = 8

export class Redelivery {
  readonly #store: Store
  readonly #prefix: string
  /** Hash of content by packet id, oldest first; by id after a start, where a broker resends before all else. */
  readonly #hashes = new Map<number, string>()

  constructor(store: Store, uplink: string) {
    this.#store = store
    this.#prefix = `${uplink}/`
  }

  /** Reads what is stored: before the first connection, when a link that this one replaces writes no more. */
  async load(): Promise<void> {
    this.#hashes.clear()
    for await (const { key, value } of this.#store.list(space, this.#prefix))
      this.#hashes.set(Number(key.slice(this.#prefix.length)), value.toString('latin1'))
  }

  get size(): number {
    return this.#hashes.size
  }

  has(packetId: number, topic: string, payload: Buffer): boolean {
    return this.#hashes.get(packetId) === hashOf(topic, payload)
  }

  /** Puts the entry into the transaction that admits the message. */
  note(tx: Transaction, packetId: number, topic: string, payload: Buffer): void {
    const hash = hashOf(topic, payload)
    this.#hashes.delete(packetId)
    this.#hashes.set(packetId, hash)
    tx.put(space, this.#key(packetId), Buffer.from(hash, 'latin1'))
    if (this.#hashes.size <= redeliveriesMax) return
    const [oldest] = this.#hashes.keys()
    if (oldest !== undefined) this.#forget(tx, oldest)
  }

  /** The broker has no session of ours: its packet ids begin anew. */
  async clear(): Promise<void> {
    if (this.#hashes.size === 0) return
    const tx = new Transaction()
    for (const packetId of [...this.#hashes.keys()]) this.#forget(tx, packetId)
    await this.#store.write(tx)
  }

  #forget(tx: Transaction, packetId: number): void {
    this.#hashes.delete(packetId)
    tx.delete(space, this.#key(packetId))
  }

  #key(packetId: number): string {
    return this.#prefix + packetId
  }
}

function hashOf(topic: string, payload: Buffer): string {
  const hash = createHash('sha256').update(topic).update('\0').update(payload).digest()
  return hash.toString('latin1', 0, hashBytes)
}
