/**
 * One persistent session: its subscriptions, its log as a durable consumer of the router, and who serves it.
 *
 *   router ──record()──► log session.ID ──► SessionPump ──► link      files: session-pump, session-progress,
 *   SUBSCRIBE ──subscribe()──► documents, router                      sent-mark, inbound-ids, session-documents
 *
 *   stored ──load()──► ready ──discard()──► discarded
 *
 * A session that no client uses costs its documents and its place in the router's index; ids and progress are
 * read when its client connects for the first time after a start.
 */
import type { Clock } from '#base/clock.ts'
import { FescueError } from '#base/errors.ts'
import type { Offset } from '#base/ids.ts'
import type { DurableConsumer } from '#router/consumer.ts'
import { type Message, toRecord } from '#router/message.ts'
import { type Router, recordEnvelopeBytes } from '#router/router.ts'
import type { CommitLog, ReadLimits } from '#store/commit-log.ts'
import type { LogRecord, Qos, RecordInput } from '#store/record.ts'
import type { Store } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'
import { StoredInboundIds } from './inbound-ids.ts'
import {
  type AckOutcome,
  type Session,
  type SessionLink,
  type SubscriptionEntry,
  subscriptionsMax,
} from './session.ts'
import {
  encodeSession,
  encodeSubscription,
  sessionKey,
  sessionSpace,
  subscriptionSpace,
} from './session-documents.ts'
import { SessionProgress } from './session-progress.ts'
import { SessionPump } from './session-pump.ts'

export interface SessionDependencies {
  readonly store: Store
  readonly router: Router
  readonly clock: Clock
  readonly inflightMax: number
  /** A record was past its expiry when its turn came. */
  expired(): void
}

interface Ready {
  readonly kind: 'ready'
  readonly progress: SessionProgress
  readonly pump: SessionPump
}

type State = { readonly kind: 'stored' } | Ready | { readonly kind: 'discarded' }

const discarded: State = { kind: 'discarded' }
const readLimits: ReadLimits = { maxRecords: 256, maxBytes: 256 * 1024 }

export class PersistentSession implements Session, DurableConsumer {
  readonly clientId: string
  readonly id: string
  readonly key: string
  readonly log: CommitLog
  readonly inbound: StoredInboundIds
  readonly #deps: SessionDependencies
  readonly #subscriptions = new Map<string, SubscriptionEntry>()
  /** Offsets below may have been sent before this start. */
  readonly #sentTo: Offset
  /** When the client was last seen, by the monotonic clock. */
  #seenAt: number
  /** What the session's document says: connected, or away since (milliseconds since the epoch). */
  #awaySince: number | undefined
  #state: State = { kind: 'stored' }
  /** Settles when the last change of subscriptions is durable. */
  #subscribed: Promise<void> = Promise.resolve()

  constructor(deps: SessionDependencies, clientId: string, log: CommitLog, sentTo: Offset, awayMs: number) {
    this.#deps = deps
    this.clientId = clientId
    this.id = `session:${clientId}`
    this.key = sessionKey(clientId)
    this.log = log
    this.inbound = new StoredInboundIds(deps.store, this.key)
    this.#sentTo = sentTo
    this.#seenAt = deps.clock.monotonic() - awayMs
    this.#awaySince = deps.clock.now() - awayMs
  }

  /** Takes a subscription that was stored before this start. */
  restore(entry: SubscriptionEntry): void {
    this.#subscriptions.set(entry.filter, entry)
    if (entry.qos > 0) this.#deps.router.subscribe(this, entry.filter, entry.qos)
  }

  /** Reads what serving a client needs. */
  async load(): Promise<void> {
    if (this.#state.kind !== 'stored') return
    const { store } = this.#deps
    await this.inbound.load()
    this.#start(await SessionProgress.load(store, this.log))
  }

  /** Stages a new session's documents and makes it ready. */
  stage(tx: Transaction): void {
    SessionProgress.stage(tx, this.log)
    const start = { low: this.log.head, done: [], retries: [] }
    this.#start(new SessionProgress(this.#deps.store, this.log, start, start))
    this.stageConnected(tx)
  }

  /** Stages that the client is connecting: messages may be sent. */
  stageConnected(tx: Transaction): void {
    this.#seenAt = this.#deps.clock.monotonic()
    this.#awaySince = undefined
    this.#ready?.pump.reserve(tx)
    tx.require('power')
  }

  get discarded(): boolean {
    return this.#state.kind === 'discarded'
  }

  get subscriptions(): readonly SubscriptionEntry[] {
    return [...this.#subscriptions.values()]
  }

  get queued(): number {
    return this.#ready?.progress.queued ?? this.log.records
  }

  /** Milliseconds for which the client has been away; 0 while it is served. */
  get awayMs(): number {
    return this.#ready?.pump.attached ? 0 : this.#deps.clock.monotonic() - this.#seenAt
  }

  record(message: Message, granted: Qos): RecordInput | undefined {
    const qos = message.qos < granted ? message.qos : granted
    if (qos === 0) return undefined
    // [MQTT-3.3.1-9]: the retain flag is cleared for an established subscription.
    return toRecord(message.retain ? { ...message, retain: false } : message, qos)
  }

  attach(link: SessionLink): void {
    const ready = this.#ready
    if (ready === undefined) return
    const { pump } = ready
    // The connection that it takes over from may have left after this one was opened.
    const stale = pump.attached || this.#awaySince !== undefined
    this.#awaySince = undefined
    if (stale) {
      const tx = new Transaction().require('process')
      pump.detach(tx)
      pump.reserve(tx)
      this.#deps.store.commit(tx)
    }
    pump.attach(link)
  }

  detach(link: SessionLink): void {
    const ready = this.#ready
    if (ready?.pump.serves(link)) this.#leave(ready)
  }

  /** At a stop: whoever is served still is away from now on. */
  release(): void {
    const ready = this.#ready
    if (ready !== undefined && this.#awaySince === undefined) this.#leave(ready)
  }

  acknowledge(packetId: number, packet: 'puback' | 'pubcomp'): AckOutcome {
    return this.#ready?.pump.acknowledge(packetId, packet) ?? 'unknown'
  }

  received(packetId: number, done: (error?: Error) => void): void {
    const ready = this.#ready
    if (ready === undefined) done()
    else ready.pump.received(packetId, done)
  }

  subscribe(entries: readonly SubscriptionEntry[]): Promise<void> {
    if (this.discarded) return Promise.resolve()
    const changed = entries.filter(entry => !sameEntry(this.#subscriptions.get(entry.filter), entry))
    if (changed.length === 0) return this.#subscribed
    const added = new Set(
      changed.map(({ filter }) => filter).filter(filter => !this.#subscriptions.has(filter)),
    )
    if (this.#subscriptions.size + added.size > subscriptionsMax) return this.#tooMany()
    const tx = new Transaction().require('power')
    for (const entry of changed) {
      const { filter, qos } = entry
      this.#subscriptions.set(filter, entry)
      tx.put(subscriptionSpace, `${this.key}/${filter}`, encodeSubscription(entry))
      if (qos > 0) this.#deps.router.subscribe(this, filter, qos)
      else this.#deps.router.unsubscribe(this, filter)
    }
    return this.#write(tx)
  }

  unsubscribe(filters: readonly string[]): Promise<void> {
    const known = filters.filter(filter => this.#subscriptions.delete(filter))
    if (known.length === 0) return this.#subscribed
    const tx = new Transaction().require('power')
    for (const filter of known) {
      tx.delete(subscriptionSpace, `${this.key}/${filter}`)
      this.#deps.router.unsubscribe(this, filter)
    }
    return this.#write(tx)
  }

  enqueue(tx: Transaction, record: RecordInput): boolean {
    if (this.discarded || record.qos === 0) return false
    const bytes = record.payload.length + record.topic.length + recordEnvelopeBytes
    if (this.log.room(bytes, false) === 'drop-newest') {
      tx.lose(this.log, { from: this.log.end, to: this.log.end }, 1, 'overflow')
      return false
    }
    tx.append(this.log, record)
    tx.require('power')
    return true
  }

  /** Records that are not acknowledged, in offset order, with whether they are received (PUBREC) already. */
  async *unacknowledged(): AsyncGenerator<{ record: LogRecord; released: boolean }> {
    const ready = this.#ready
    let from = ready?.progress.low ?? this.log.end
    while (ready !== undefined && from < this.log.end) {
      const { records, next } = await this.log.read(from, readLimits)
      for (const record of records) {
        if (ready.progress.isDone(record.offset)) continue
        yield { record, released: ready.progress.isReleased(record.offset) }
      }
      if (next <= from) return
      from = next
    }
  }

  /** The same as PUBACK or PUBCOMP for a record known by its offset. */
  complete(offset: Offset): void {
    this.#ready?.pump.complete(offset)
  }

  /** The same as PUBREC for a record known by its offset; resolves once it is kept. */
  markReceived(offset: Offset): Promise<void> {
    return new Promise((resolve, reject) => {
      const ready = this.#ready
      if (ready === undefined) return resolve()
      ready.pump.release(offset, error => (error === undefined ? resolve() : reject(error)))
    })
  }

  /** Stages the end of the session; its log is removed by the owner after the commit. */
  discard(tx: Transaction): void {
    this.#ready?.pump.end()
    this.#state = discarded
    this.#deps.router.remove(this)
    tx.delete(sessionSpace, this.key)
    for (const filter of this.#subscriptions.keys()) tx.delete(subscriptionSpace, `${this.key}/${filter}`)
    this.#subscriptions.clear()
    this.inbound.clear(tx, 'all')
    const { log } = this
    if (log.records > 0) tx.lose(log, { from: log.head, to: log.end }, log.records, 'session')
    tx.require('power')
  }

  get #ready(): Ready | undefined {
    return this.#state.kind === 'ready' ? this.#state : undefined
  }

  #start(progress: SessionProgress): void {
    const { store, clock, inflightMax, expired } = this.#deps
    const pump = new SessionPump({
      store,
      log: this.log,
      clock,
      progress,
      inflightMax,
      sentTo: this.#sentTo,
      writeSentTo: (tx, sentTo) => this.#writeDocument(tx, sentTo),
      grantsQos2: () => this.#subscriptions.values().some(({ qos }) => qos === 2),
      expired,
    })
    this.#state = { kind: 'ready', progress, pump }
  }

  #leave({ pump }: Ready): void {
    const { store, clock } = this.#deps
    this.#seenAt = clock.monotonic()
    this.#awaySince = clock.now()
    const tx = new Transaction().require('process')
    pump.detach(tx)
    store.commit(tx)
  }

  #writeDocument(tx: Transaction, sentTo: Offset): void {
    const { clientId } = this
    const { epoch } = this.#deps.store
    const document = { clientId, epoch, sentTo }
    const since = this.#awaySince
    const value = encodeSession(since === undefined ? document : { ...document, disconnectedAt: since })
    tx.put(sessionSpace, this.key, value)
  }

  #write(tx: Transaction): Promise<void> {
    this.#subscribed = this.#deps.store.write(tx)
    return this.#subscribed
  }

  #tooMany(): Promise<void> {
    const text = `session "${this.clientId}" has ${subscriptionsMax} subscriptions: unsubscribe some first`
    return Promise.reject(new FescueError('FESCUE_STORE_FULL', text))
  }
}

function sameEntry(known: SubscriptionEntry | undefined, entry: SubscriptionEntry): boolean {
  if (known === undefined || known.qos !== entry.qos) return false
  return JSON.stringify(known.options) === JSON.stringify(entry.options)
}
