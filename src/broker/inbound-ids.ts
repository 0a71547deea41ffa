/**
 * What a client of a persistent session sent us and may send again: QoS 2 ids and the QoS 1 resend table.
 *
 *   PUBLISH q2 ─► stage(tx) with the admission ─► PUBREC     …     PUBREL ─► release ─► commit (power) ─► PUBCOMP
 *
 * Both are written in the batch that admits the message (D1), so a message is admitted if and only if its id
 * is known, across any crash. The id goes before PUBCOMP does: were it the other way round, a client that
 * reuses the id after a crash would have its new message taken for the old one.
 */
import type { FescueError } from '#base/errors.ts'
import type { RecordInput } from '#store/record.ts'
import { decodeRecord, encodeRecord } from '#store/record-codec.ts'
import type { Store } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'
import { ResendTable } from './resend-table.ts'
import type { InboundIds } from './session.ts'
import { inboundSpace } from './session-documents.ts'

type Done = (error?: Error) => void

/** An id without the packet: the message itself was published when it was admitted. */
const idOnly = Buffer.of(0)

export class StoredInboundIds implements InboundIds {
  readonly #store: Store
  readonly #prefix: string
  readonly #ids = new Set<number>()
  /** Ids whose deletion is on its way to disk, with who waits for it. */
  readonly #releasing = new Map<number, Done[]>()
  readonly #resends: ResendTable

  /** `key` is the session's (`sessionKey`). */
  constructor(store: Store, key: string) {
    this.#store = store
    this.#prefix = `${key}/`
    this.#resends = new ResendTable(key)
  }

  async load(): Promise<void> {
    for await (const { key } of this.#store.list(inboundSpace, this.#prefix)) {
      this.#ids.add(Number.parseInt(key.slice(this.#prefix.length), 16))
    }
    await this.#resends.load(this.#store)
  }

  get size(): number {
    return this.#ids.size
  }

  has(packetId: number): boolean {
    return this.#ids.has(packetId)
  }

  stage(tx: Transaction, packetId: number, packet?: RecordInput): void {
    this.#ids.add(packetId)
    this.#resends.forget(tx, packetId)
    tx.put(inboundSpace, this.#key(packetId), packet === undefined ? idOnly : encodeRecord(packet))
    // The message's own class raises it: id and message are kept or lost together.
    tx.require('process')
  }

  /** The packet that was staged with the id, if one was. */
  async packet(packetId: number): Promise<RecordInput | undefined> {
    if (!this.#ids.has(packetId)) return undefined
    const value = await this.#store.get(inboundSpace, this.#key(packetId))
    return value === undefined || value.length <= idOnly.length ? undefined : decodeRecord(value)
  }

  release(packetId: number, done: Done): void {
    const waiting = this.#releasing.get(packetId)
    if (waiting !== undefined && !this.#ids.has(packetId)) {
      waiting.push(done)
      return
    }
    if (!this.#ids.delete(packetId)) {
      done()
      return
    }
    const callbacks = [done]
    this.#releasing.set(packetId, callbacks)
    const tx = new Transaction().require('power')
    tx.delete(inboundSpace, this.#key(packetId))
    this.#store.commit(tx, error => this.#released(packetId, callbacks, error))
  }

  isResend(packetId: number, hash: bigint): boolean {
    return this.#resends.has(packetId, hash)
  }

  stageQos1(tx: Transaction, packetId: number, hash: bigint): void {
    this.#resends.add(tx, packetId, hash)
  }

  revoke(packetId: number, qos: 1 | 2): void {
    if (qos === 2) this.#ids.delete(packetId)
    else this.#resends.revoke(packetId)
  }

  /** Forgets the QoS 2 ids; with the session also the resend table. */
  clear(tx: Transaction, what: 'ids' | 'all'): void {
    for (const packetId of this.#ids) tx.delete(inboundSpace, this.#key(packetId))
    this.#ids.clear()
    if (what === 'all') this.#resends.clear(tx)
  }

  #released(packetId: number, callbacks: readonly Done[], error: FescueError | undefined): void {
    if (this.#releasing.get(packetId) === callbacks) this.#releasing.delete(packetId)
    for (const callback of callbacks) callback(error)
  }

  #key(packetId: number): string {
    return this.#prefix + packetId.toString(16).padStart(4, '0')
  }
}
