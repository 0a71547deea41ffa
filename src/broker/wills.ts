/**
 * Wills: stored with their owner at CONNECT, published by us when the connection ends without DISCONNECT.
 *
 *   CONNECT ── store ──► durable ──► CONNACK ─┬─ DISCONNECT ──► forget
 *                                             └─ ended without ──► publish: message and deletion in one batch (D2)
 *   start: wills of the life before ── graceMs ──► publish, unless `returned` was called at their client's CONNECT
 *
 * Each will has a key of its own, not one per client, and its connection keeps it as a handle: when a client takes
 * over from its own older connection, the older will is published and the newer one stays, whichever comes first.
 *
 * The grace after a start is a stated deviation from [MQTT-3.1.2-8]: after a crash every client is gone for a moment,
 * and a will at once would report a fleet as dead that is coming back. A stop of the daemon is treated in the same
 * way: the wills stay stored.
 *
 * A will meets a full log as a message that cannot wait: dropped there and counted, never held back. Bounds (D6):
 * `willPayloadMaxBytes`, `willsMax`. Contents are on disk, only keys and owners are in memory.
 */
import type { Clock } from '#base/clock.ts'
import { FescueError } from '#base/errors.ts'
import type { Logger } from '#base/logger.ts'
import type { Router } from '#router/router.ts'
import { decodeRecord, encodeRecord } from '#store/record-codec.ts'
import type { Store } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'
import type { WillHandle, WillMessage, WillOwner, WillStore } from './session.ts'
import { sessionKey } from './session-documents.ts'

const space = 'will'
/** Wills that are kept; a CONNECT that would add one more is refused. */
export const willsMax = 10_000
export const willPayloadMaxBytes = 64 * 1024
/** How long the wills of an earlier life wait for their clients after a start. */
export const willGraceMs = 30_000

/** aedes asks for the broker that a client was connected to. */
export interface StoredOwner extends WillOwner {
  readonly brokerId?: string
}

export interface WillsOptions {
  readonly store: Store
  readonly router: Router
  readonly clock: Clock
  readonly logger: Logger
  /** 30 s. */
  readonly graceMs?: number
  /** 10,000. */
  readonly willsMax?: number
  /** Asked when a will is published: its owner may have lost the right since. */
  mayPublish?(owner: WillOwner, topic: string): boolean
}

interface StoredWill extends WillHandle {
  readonly owner: StoredOwner
}

export class Wills implements WillStore {
  readonly #options: WillsOptions
  readonly #max: number
  /** Each client's, oldest first: one, and for a moment two while a client takes over from itself. */
  readonly #wills = new Map<string, StoredWill[]>()
  /** Those of an earlier life whose client has not come back. */
  readonly #left = new Set<StoredWill>()
  readonly #publishing = new Set<Promise<void>>()
  /** Keys are unique over lives: the time of the start, then counted. */
  readonly #life: string
  #count = 0
  #size = 0
  #cancelGrace = (): void => {}
  #closed = false

  private constructor(options: WillsOptions) {
    this.#options = options
    this.#max = options.willsMax ?? willsMax
    this.#life = `${options.clock.now().toString(36)}.${options.store.epoch}`
  }

  /** Loads the wills of earlier lives and starts their grace. */
  static async open(options: WillsOptions): Promise<Wills> {
    const wills = new Wills(options)
    for await (const { key, value } of options.store.list(space)) {
      const will = { key, owner: decodeOwner(value) }
      wills.#left.add(will)
      wills.#add(will)
    }
    const { clock, graceMs = willGraceMs } = options
    if (wills.#left.size > 0) wills.#cancelGrace = clock.after(graceMs, () => wills.#endGrace())
    return wills
  }

  get size(): number {
    return this.#size
  }

  owners(): Iterable<StoredOwner> {
    return this.#wills.values().flatMap(wills => wills.map(({ owner }) => owner))
  }

  /**
   * Stores a will; resolves once it is durable, then CONNACK may go out.
   * Errors: FESCUE_PACKET_TOO_LARGE, FESCUE_STORE_FULL.
   */
  async store(owner: StoredOwner, message: WillMessage): Promise<WillHandle> {
    const { clientId } = owner
    if (message.payload.length > willPayloadMaxBytes) {
      const text = `the will of "${clientId}" has more than ${willPayloadMaxBytes} bytes`
      throw new FescueError('FESCUE_PACKET_TOO_LARGE', text)
    }
    if (this.#size >= this.#max) {
      const text = `${this.#max} wills are kept: no room for that of "${clientId}"`
      throw new FescueError('FESCUE_STORE_FULL', text)
    }
    const key = `${sessionKey(clientId)}/${this.#life}.${(this.#count++).toString(36).padStart(6, '0')}`
    const will = { key, owner }
    this.#add(will)
    const { store, clock } = this.#options
    const { topic, payload, qos, retain } = message
    const tx = new Transaction().require('power')
    const extra = JSON.stringify(owner)
    tx.put(space, key, encodeRecord({ topic, payload, qos, retain, time: clock.now(), extra }))
    await store.write(tx)
    return will
  }

  /** The client's newest stored will. */
  find(clientId: string): StoredWill | undefined {
    return this.#wills.get(clientId)?.at(-1)
  }

  /** The content of the client's newest stored will. */
  async read(clientId: string): Promise<WillMessage | undefined> {
    const will = this.find(clientId)
    return will === undefined ? undefined : this.#content(will)
  }

  /**
   * The connection ended without DISCONNECT [MQTT-3.1.2-8]: publishes its will. Nothing for one that was published
   * or forgotten before. Never rejects: what a closing store does not take stays for the next start.
   */
  publish(will: WillHandle): Promise<void> {
    const publishing = this.#publish(will).catch((error: unknown) => {
      const { clientId } = will.owner
      this.#options.logger.warn(
        { err: error, client: clientId },
        'will not published; it stays for the next start',
      )
    })
    this.#publishing.add(publishing)
    return publishing.finally(() => this.#publishing.delete(publishing))
  }

  /** DISCONNECT came [MQTT-3.14.4-3]: deletes the will; resolves once that is kept. */
  forget(will: WillHandle): Promise<void> {
    const tx = new Transaction().require('process')
    return this.#take(tx, will) ? this.#options.store.write(tx) : Promise.resolve()
  }

  /** The client is connected again: the wills that it left in an earlier life are void. */
  async returned(clientId: string): Promise<void> {
    const left = (this.#wills.get(clientId) ?? []).filter(will => this.#left.has(will))
    await Promise.all(left.map(will => this.forget(will)))
  }

  /** Ends the grace and waits for what is being published; stored wills stay for the next start. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    this.#cancelGrace()
    await Promise.all(this.#publishing)
  }

  #endGrace(): void {
    const { logger } = this.#options
    logger.info({ wills: this.#left.size }, 'publishing the wills of clients that did not come back')
    void this.#publishLeft()
  }

  /** One after the other, so that thousands of contents are not in memory at once. */
  async #publishLeft(): Promise<void> {
    for (const will of [...this.#left]) if (!this.#closed) await this.publish(will)
  }

  async #publish(will: WillHandle): Promise<void> {
    const { store } = this.#options
    const message = this.#has(will) ? await this.#content(will) : undefined
    const tx = new Transaction().require('process')
    // It may have been forgotten while it was read.
    if (this.#closed || message === undefined || !this.#take(tx, will)) return
    this.#stage(tx, will.owner, message)
    await store.write(tx)
  }

  async #content({ key }: WillHandle): Promise<WillMessage | undefined> {
    const value = await this.#options.store.get(space, key)
    if (value === undefined) return undefined
    const { topic, payload, qos, retain = false } = decodeRecord(value)
    return { topic, payload, qos, retain }
  }

  #stage(tx: Transaction, owner: WillOwner, message: WillMessage): void {
    const { router, clock, mayPublish } = this.#options
    if (mayPublish !== undefined && !mayPublish(owner, message.topic)) return
    const { topic, payload, qos, retain } = message
    const origin = { kind: 'will', client: owner.clientId } as const
    router.stage(tx, { topic, payload, qos, retain, time: clock.now(), origin, hops: 0 })
  }

  #add(will: StoredWill): void {
    const { clientId } = will.owner
    const wills = this.#wills.get(clientId)
    if (wills === undefined) this.#wills.set(clientId, [will])
    else wills.push(will)
    this.#size += 1
  }

  #has(will: WillHandle): boolean {
    return this.#wills.get(will.owner.clientId)?.includes(will) ?? false
  }

  /** Stages the deletion; whether the will was still there. */
  #take(tx: Transaction, will: WillHandle): boolean {
    if (!this.#has(will)) return false
    const { clientId } = will.owner
    const others = (this.#wills.get(clientId) ?? []).filter(other => other !== will)
    if (others.length > 0) this.#wills.set(clientId, others)
    else this.#wills.delete(clientId)
    this.#left.delete(will)
    this.#size -= 1
    tx.delete(space, will.key)
    return true
  }
}

function decodeOwner(value: Buffer): StoredOwner {
  return JSON.parse(decodeRecord(value).extra ?? '{"clientId":""}') as StoredOwner
}
