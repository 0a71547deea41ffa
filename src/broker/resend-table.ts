/**
 * The QoS 1 publishes last admitted from one client: packet id and content hash, newest `resendMax`.
 *
 * A PUBLISH with DUP=1 whose id and hash equal the newest entry of its id repeats an admitted message. The
 * table is a ring; what is written with an admission is the page that the new entry lies in, so a message
 * costs one small document at most (messages of one transaction share it) and a load reads
 * `resendMax / pageEntries` of them:
 *
 *   page value:  sequence of its first entry (6 bytes) │ id (2) hash (8) │ id hash │ … │ 0 0 when not used yet
 *
 * A QoS 2 PUBLISH that uses an id of the table writes an entry without a hash: the id was used since.
 */
import type { Store } from '#store/store.ts'
import type { Transaction } from '#store/transaction.ts'
import { resendSpace } from './session-documents.ts'

/** Entries kept per session. */
export const resendMax = 1_000
const pageEntries = 8
const headBytes = 6
const entryBytes = 10
const pageBytes = headBytes + pageEntries * entryBytes
/** Hash of an entry that only says "used since"; a content with this hash is admitted again, which is allowed. */
const usedSince = 0n

export class ResendTable {
  readonly #prefix: string
  #next = 0
  #ids = new Uint16Array(0)
  #hashes = new BigUint64Array(0)
  /** The page that an open transaction writes: further entries go into the same value. */
  #page: { readonly tx: Transaction; readonly first: number; readonly value: Buffer } | undefined

  constructor(key: string) {
    this.#prefix = `${key}/`
  }

  /** Reads what is stored; pages of older rounds of the ring are overwritten by newer ones. */
  async load(store: Store): Promise<void> {
    const pages: Buffer[] = []
    for await (const { value } of store.list(resendSpace, this.#prefix)) pages.push(value)
    pages.sort((a, b) => a.readUIntBE(0, headBytes) - b.readUIntBE(0, headBytes))
    for (const page of pages) {
      this.#next = page.readUIntBE(0, headBytes)
      for (let at = headBytes; at < page.length && page.readUInt16BE(at) > 0; at += entryBytes) {
        this.#set(page.readUInt16BE(at), page.readBigUInt64BE(at + 2))
      }
    }
  }

  /** Whether the newest use of the id is an admitted QoS 1 PUBLISH with this hash. */
  has(packetId: number, hash: bigint): boolean {
    const slot = this.#find(packetId)
    return slot >= 0 && hash !== usedSince && this.#hashes[slot] === hash
  }

  add(tx: Transaction, packetId: number, hash: bigint): void {
    this.#set(packetId, hash)
    this.#write(tx)
  }

  /** A QoS 2 PUBLISH took the id. */
  forget(tx: Transaction, packetId: number): void {
    if (this.#find(packetId) >= 0) this.add(tx, packetId, usedSince)
  }

  /** The newest entry of the id was not written, and never will be. */
  revoke(packetId: number): void {
    const slot = this.#find(packetId)
    if (slot >= 0) this.#hashes[slot] = usedSince
    this.#page = undefined
  }

  /** Deletes all pages. */
  clear(tx: Transaction): void {
    const pages = Math.min(Math.ceil(this.#next / pageEntries), resendMax / pageEntries)
    for (let page = 0; page < pages; page++) tx.delete(resendSpace, this.#prefix + page)
    this.#next = 0
    this.#ids = new Uint16Array(0)
    this.#hashes = new BigUint64Array(0)
  }

  #set(packetId: number, hash: bigint): void {
    if (this.#ids.length === 0) {
      this.#ids = new Uint16Array(resendMax)
      this.#hashes = new BigUint64Array(resendMax)
    }
    const slot = this.#next % resendMax
    this.#ids[slot] = packetId
    this.#hashes[slot] = hash
    this.#next += 1
  }

  /** Slot of the newest entry of an id, or -1. */
  #find(packetId: number): number {
    const oldest = Math.max(0, this.#next - resendMax)
    for (let sequence = this.#next - 1; sequence >= oldest; sequence--) {
      if (this.#ids[sequence % resendMax] === packetId) return sequence % resendMax
    }
    return -1
  }

  #write(tx: Transaction): void {
    const last = this.#next - 1
    const first = last - (last % pageEntries)
    const open = this.#page
    if (open !== undefined && open.tx === tx && open.first === first) this.#entry(open.value, first, last)
    else this.#beginPage(tx, first, last)
  }

  #beginPage(tx: Transaction, first: number, last: number): void {
    const value = Buffer.alloc(pageBytes)
    value.writeUIntBE(first, 0, headBytes)
    for (let sequence = first; sequence <= last; sequence++) this.#entry(value, first, sequence)
    tx.put(resendSpace, this.#prefix + (first % resendMax) / pageEntries, value)
    const page = { tx, first, value }
    this.#page = page
    // Keeps neither the transaction nor its messages in memory once it is written.
    tx.onCommitted(() => {
      if (this.#page === page) this.#page = undefined
    })
  }

  #entry(value: Buffer, first: number, sequence: number): void {
    const slot = sequence % resendMax
    const at = headBytes + (sequence - first) * entryBytes
    value.writeUInt16BE(this.#ids[slot] ?? 0, at)
    value.writeBigUInt64BE(this.#hashes[slot] ?? usedSince, at + 2)
  }
}
