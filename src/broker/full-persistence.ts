/**
 * All of aedes's persistence over our sessions, retained values and wills: what its published suite asks for.
 *
 *   aedes (control packets) ─► SessionPersistence ─┐
 *   aedes-persistence's suite ─► all methods ──────┴─► the same functions that admission, pump and wills use
 *
 * In the broker no PUBLISH and no acknowledgement reaches aedes, and sessions are served from their own log by the
 * pump; so `aedes-host.ts` lets it reach the first part only, and an empty `outgoingStream`. Here the queue is addressed by the packet
 * ids that aedes gives, which are kept for the life of this object (`queue-by-id.ts`).
 */
import { Readable } from 'node:stream'
import type { Clock } from '#base/clock.ts'
import { filterMatches } from '#base/topics.ts'
import type { Retained } from '#router/retained.ts'
import type { Store } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'
import { type AedesClient, SessionPersistence } from './persistence.ts'
import type { PersistentSession } from './persistent-session.ts'
import { QueueById } from './queue-by-id.ts'
import type { SubscriptionEntry } from './session.ts'
import type { SessionStore } from './session-store.ts'
import { type AedesPacket, toPacket, toRecordInput } from './stored-packet.ts'
import type { Wills } from './wills.ts'

export interface PersistenceOptions {
  readonly store: Store
  readonly retained: Retained
  readonly sessions: SessionStore
  readonly wills: Wills
  readonly clock: Clock
}

export interface AedesWill {
  topic: string
  payload: Buffer | string
  qos: SubscriptionEntry['qos']
  retain: boolean
  brokerId?: string
  clientId?: string
}

/** One object, thrown for every unknown id: making an Error for each costs a fifth of the QoS 2 rate. */
const noSuchPacket = new Error('no such packet')

export class FullPersistence extends SessionPersistence {
  readonly #options: PersistenceOptions
  readonly #queues = new WeakMap<PersistentSession, QueueById>()
  #destroyed = false

  constructor(options: PersistenceOptions) {
    super(options.sessions)
    this.#options = options
  }

  /** The sessions, retained values and the store are their owners' to close. */
  async destroy(): Promise<void> {
    if (this.#destroyed) throw new Error('destroyed called twice!')
    this.#destroyed = true
  }

  // ── retained ────────────────────────────────────────────────────────────────────────────────────────────

  async storeRetained(packet: AedesPacket): Promise<void> {
    const { clock, retained, store } = this.#options
    const record = toRecordInput(packet, clock.now())
    const tx = new Transaction().require(record.qos > 0 ? 'power' : 'process')
    retained.stageRecord(tx, record)
    await store.write(tx)
  }

  createRetainedStream(filter: string): Readable {
    return this.createRetainedStreamCombi([filter])
  }

  createRetainedStreamCombi(filters: readonly string[]): Readable {
    return Readable.from(this.#retained(filters))
  }

  // ── outgoing ────────────────────────────────────────────────────────────────────────────────────────────

  async outgoingEnqueue(subscription: { clientId: string }, packet: AedesPacket): Promise<void> {
    await this.outgoingEnqueueCombi([subscription], packet)
  }

  async outgoingEnqueueCombi(
    subscriptions: readonly { clientId: string }[],
    packet: AedesPacket,
  ): Promise<void> {
    const { clock, store } = this.#options
    const record = toRecordInput(packet, clock.now())
    const tx = new Transaction()
    for (const { clientId } of subscriptions) (await this.#session(clientId)).enqueue(tx, record)
    await store.write(tx)
  }

  /** Gives the packet its packet id, or (PUBREL) notes that PUBREC came. */
  async outgoingUpdate({ id }: AedesClient, packet: AedesPacket): Promise<void> {
    const queue = await this.#queue(id)
    if (!(await queue.update(packet))) throw noSuchPacket
  }

  async outgoingClearMessageId({ id }: AedesClient, packet: AedesPacket): Promise<AedesPacket | undefined> {
    const session = this.sessions.find(id)
    return session === undefined ? undefined : (await this.#queue(id)).clear(packet.messageId)
  }

  outgoingStream({ id }: AedesClient): Readable {
    return Readable.from(this.#outgoing(id))
  }

  // ── incoming ────────────────────────────────────────────────────────────────────────────────────────────

  async incomingStorePacket({ id }: AedesClient, packet: AedesPacket): Promise<void> {
    const { clock, store } = this.#options
    const { inbound } = await this.#session(id)
    const tx = new Transaction()
    inbound.stage(tx, packet.messageId ?? 0, toRecordInput(packet, clock.now()))
    await store.write(tx)
  }

  async incomingGetPacket({ id }: AedesClient, { messageId }: AedesPacket): Promise<AedesPacket> {
    const record = await this.sessions.find(id)?.inbound.packet(messageId ?? 0)
    if (record === undefined) throw noSuchPacket
    return { ...toPacket(record), messageId }
  }

  async incomingDelPacket({ id }: AedesClient, { messageId }: AedesPacket): Promise<void> {
    const inbound = this.sessions.find(id)?.inbound
    if (inbound === undefined || !inbound.has(messageId ?? 0)) throw noSuchPacket
    await new Promise<void>((resolve, reject) => {
      inbound.release(messageId ?? 0, error => (error === undefined ? resolve() : reject(error)))
    })
  }

  async cleanIncoming({ id }: AedesClient): Promise<void> {
    const session = this.sessions.find(id)
    if (session === undefined || session.inbound.size === 0) return
    const tx = new Transaction().require('power')
    session.inbound.clear(tx, 'ids')
    await this.#options.store.write(tx)
  }

  // ── wills ───────────────────────────────────────────────────────────────────────────────────────────────

  /** aedes keeps the packet it gave; as in its own store, it is told the packet's owner. */
  async putWill(client: AedesClient, will: AedesWill): Promise<void> {
    const brokerId = this.broker?.id ?? ''
    const { topic, payload, qos, retain } = will
    Object.assign(will, { brokerId, clientId: client.id })
    const message = {
      topic,
      payload: typeof payload === 'string' ? Buffer.from(payload) : payload,
      qos,
      retain,
    }
    await this.#options.wills.store({ clientId: client.id, brokerId }, message)
  }

  async getWill({ id }: AedesClient): Promise<AedesWill | undefined> {
    const { wills } = this.#options
    const brokerId = wills.find(id)?.owner.brokerId ?? ''
    const message = await wills.read(id)
    return message === undefined ? undefined : { ...message, clientId: id, brokerId }
  }

  async delWill(client: AedesClient): Promise<AedesWill | undefined> {
    const { wills } = this.#options
    const message = await this.getWill(client)
    const will = wills.find(client.id)
    if (will !== undefined) await wills.forget(will)
    return message
  }

  /** Wills of clients of brokers that are not in `brokers`. */
  streamWill(brokers: Readonly<Record<string, unknown>> = {}): Readable {
    return Readable.from(this.#willsWithout(brokers))
  }

  // ── private ─────────────────────────────────────────────────────────────────────────────────────────────

  async #session(clientId: string): Promise<PersistentSession> {
    return this.sessions.find(clientId) ?? (await this.sessions.open(clientId)).session
  }

  async #queue(clientId: string): Promise<QueueById> {
    const session = await this.#session(clientId)
    let queue = this.#queues.get(session)
    if (queue === undefined) {
      queue = new QueueById(session)
      this.#queues.set(session, queue)
    }
    return queue
  }

  async *#outgoing(clientId: string): AsyncGenerator<AedesPacket> {
    if (this.sessions.find(clientId) === undefined) return
    yield* (await this.#queue(clientId)).packets()
  }

  /** Each value once, whatever number of filters match its topic. */
  async *#retained(filters: readonly string[]): AsyncGenerator<AedesPacket> {
    for (const [i, filter] of filters.entries()) {
      for await (const record of this.#options.retained.match(filter)) {
        if (!filters.slice(0, i).some(earlier => filterMatches(earlier, record.topic))) yield toPacket(record)
      }
    }
  }

  async *#willsWithout(brokers: Readonly<Record<string, unknown>>): AsyncGenerator<AedesWill> {
    for (const { clientId, brokerId } of [...this.#options.wills.owners()]) {
      if (brokerId !== undefined && Object.hasOwn(brokers, brokerId)) continue
      const will = await this.getWill({ id: clientId })
      if (will !== undefined) yield will
    }
  }
}
