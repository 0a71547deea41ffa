/**
 * The one way a message is published, whoever brings it: match once, reserve, append to each durable
 * consumer's log, commit, then deliver to connected clean sessions.
 *
 *   MQTT · functions · HTTP · schedule · downlink
 *         │ stage(tx, message)                        files beside: message, consumer,
 *         ▼                                           topic-index, durability, retained
 *   match ─► room in all logs? ─► append to each + retained value ─► tx ─► commit ─► deliver
 *
 * `stage` puts the message into a transaction of the caller's, so that what belongs to it (a QoS 2 id, a
 * checkpoint, a will's deletion) is one batch with it: D1, D2. Delivery runs when that batch holds, in commit
 * order. Nothing waits inside a batch: a full log with overflow `block` is answered with `wait` before.
 */
import { randomBytes } from 'node:crypto'
import type { Clock } from '#base/clock.ts'
import { FescueError } from '#base/errors.ts'
import { filtersOverlap } from '#base/topics.ts'
import type { CommitLog } from '#store/commit-log.ts'
import type { Qos } from '#store/record.ts'
import type { Store } from '#store/store.ts'
import { type Durability, Transaction } from '#store/transaction.ts'
import type { DurableConsumer, MatchedConsumer } from './consumer.ts'
import { type DurabilityRule, durabilityOf, type TopicDurability } from './durability.ts'
import { canWait, type Message } from './message.ts'
import type { Retained } from './retained.ts'
import { TopicIndex } from './topic-index.ts'

export interface RouterOptions {
  readonly store: Store
  readonly retained: Retained
  readonly clock: Clock
  readonly durability: readonly DurabilityRule[]
  /** Longest wait of `publish` for room in a log with overflow `block` (10 s). */
  readonly blockMs: number
}

/**
 * `wait`: nothing was staged; try again once this log has room. `tight`: a log that cannot drop is near its bound,
 * and what a transaction holds is counted only once it is committed: stage nothing more into this one.
 */
export type Staged =
  | { readonly outcome: 'staged'; readonly tight: boolean }
  | { readonly outcome: 'wait'; readonly log: CommitLog }

/** Counters of the share of traffic that is not durable (`status`). */
export interface RouterStats {
  readonly published: number
  readonly byClass: Readonly<Record<Durability, number>>
}

interface Route {
  readonly consumers: readonly MatchedConsumer[]
  readonly durability: TopicDurability
}

/** Topics whose matches are remembered; least recently added go first. */
const routeCacheMax = 10_000
/** Bytes added to a payload's and topic's when room is asked for: the envelope of a record. */
export const recordEnvelopeBytes = 48

const staged: Staged = { outcome: 'staged', tight: false }
const stagedTight: Staged = { outcome: 'staged', tight: true }
/** Room left in a log below which transactions take one message each; more than callers put into one. */
export const tightBytes: number = 1024 * 1024
const tightRecords = 1_024

export class Router {
  #options: RouterOptions
  readonly #index = new TopicIndex<DurableConsumer>()
  /** QoS of each subscription, by consumer and filter. */
  readonly #qos = new Map<DurableConsumer, Map<string, Qos>>()
  readonly #routes = new Map<string, Route>()
  readonly #listeners: ((message: Message) => void)[] = []
  readonly #byClass: Record<Durability, number> = { memory: 0, process: 0, power: 0 }
  /** Message ids are unique over restarts: random per process, then counted. */
  readonly #idPrefix = randomBytes(6).toString('hex')
  #ids = 0
  #published = 0

  constructor(options: RouterOptions) {
    this.#options = options
  }

  get retained(): Retained {
    return this.#options.retained
  }

  get stats(): RouterStats {
    return { published: this.#published, byClass: { ...this.#byClass } }
  }

  /** Other rules and waits, for what is published from now on. */
  update(change: Pick<RouterOptions, 'durability' | 'blockMs'>): void {
    this.#options = { ...this.#options, ...change }
    this.#routes.clear()
  }

  /** Subscribes a consumer; subscribing a filter again changes its QoS. */
  subscribe(consumer: DurableConsumer, filter: string, qos: Qos): void {
    let filters = this.#qos.get(consumer)
    if (filters === undefined) {
      filters = new Map()
      this.#qos.set(consumer, filters)
    }
    filters.set(filter, qos)
    this.#index.add(filter, consumer)
    this.#routes.clear()
  }

  unsubscribe(consumer: DurableConsumer, filter: string): void {
    const filters = this.#qos.get(consumer)
    if (filters === undefined || !filters.delete(filter)) return
    if (filters.size === 0) this.#qos.delete(consumer)
    this.#index.remove(filter, consumer)
    this.#routes.clear()
  }

  /** Removes a consumer with all its filters; its log stays. */
  remove(consumer: DurableConsumer): void {
    for (const filter of [...(this.#qos.get(consumer)?.keys() ?? [])]) this.unsubscribe(consumer, filter)
  }

  /** Calls for every published message once its batch holds, in commit order. For the broker's live sessions. */
  onDeliver(listener: (message: Message) => void): void {
    this.#listeners.push(listener)
  }

  /** The durable consumers of a topic. */
  consumersOf(topic: string): readonly MatchedConsumer[] {
    return this.#route(topic).consumers
  }

  /** Changes with every subscription, for callers that keep what `consumersReaching` gave. */
  get version(): number {
    return this.#index.version
  }

  /** The durable consumers that a message to some topic of these filters could reach. Walks all: not for hot paths. */
  consumersReaching(filters: readonly string[]): DurableConsumer[] {
    if (filters.length === 0) return []
    const found: DurableConsumer[] = []
    for (const [consumer, wanted] of this.#qos) {
      const reached = wanted.keys().some(filter => filters.some(other => filtersOverlap(filter, other)))
      if (reached) found.push(consumer)
    }
    return found
  }

  /** Adds the message to the transaction, or says which log must first have room. */
  stage(tx: Transaction, message: Message): Staged {
    const route = this.#route(message.topic)
    const bytes = message.payload.length + message.topic.length + recordEnvelopeBytes
    const waits = canWait(message)
    if (waits) {
      for (const { consumer } of route.consumers) {
        if (consumer.log.room(bytes, true) === 'wait') return { outcome: 'wait', log: consumer.log }
      }
    }
    let kept = message.retain
    let tight = false
    const messageId = this.#messageId()
    for (const match of route.consumers) {
      if (this.#append(tx, match, message, bytes, messageId)) kept = true
      if (isTight(match.consumer.log)) tight = true
    }
    if (message.retain) this.#options.retained.stage(tx, message)
    const durability = message.qos === 0 ? route.durability.qos0 : route.durability.qos12
    if (kept) tx.require(durability)
    tx.onCommitted(() => {
      this.#published += 1
      this.#byClass[durability] += 1
      for (const listener of this.#listeners) listener(message)
    })
    return tight ? stagedTight : staged
  }

  /**
   * Publishes in a transaction of its own and resolves when it is committed. Waits up to `blockMs` for room.
   * Errors: FESCUE_STORE_FULL, FESCUE_STORE_CLOSED.
   */
  async publish(message: Message): Promise<void> {
    const { store, clock, blockMs } = this.#options
    const deadline = clock.monotonic() + blockMs
    for (;;) {
      if (!store.accepting)
        throw new FescueError('FESCUE_STORE_FULL', 'the disk takes no new messages: free some space')
      const tx = new Transaction()
      const result = this.stage(tx, message)
      if (result.outcome === 'staged') return store.write(tx)
      const leftMs = deadline - clock.monotonic()
      if (leftMs <= 0) {
        throw new FescueError(
          'FESCUE_STORE_FULL',
          `log ${result.log.name} is full and its overflow is "block"`,
        )
      }
      await this.#roomIn(result.log, leftMs)
    }
  }

  #roomIn(log: CommitLog, waitMs: number): Promise<void> {
    return new Promise(resolve => {
      const finish = () => {
        cancel()
        forget()
        resolve()
      }
      const cancel = this.#options.clock.after(waitMs, finish)
      const forget = log.onRoom(finish)
    })
  }

  /** Appends a consumer's copy by its log's policy; whether it was appended. */
  #append(
    tx: Transaction,
    match: MatchedConsumer,
    message: Message,
    bytes: number,
    messageId: () => string,
  ): boolean {
    const { log } = match.consumer
    const record = match.consumer.record(message, match.qos, messageId)
    if (record === undefined) return false
    if (!this.#mayAppend(log, message, bytes)) {
      tx.require('process').lose(
        log,
        { from: log.end, to: log.end },
        1,
        message.qos === 0 ? 'qos0' : 'overflow',
      )
      return false
    }
    tx.append(log, record)
    return true
  }

  /**
   * Origins that cannot wait meet a full `block` log as drop-newest; a function's outputs may pass the bound
   * up to twice, because the invoker holds the function back before its next run.
   */
  #mayAppend(log: CommitLog, message: Message, bytes: number): boolean {
    // Below the floor of free disk QoS 0 is not taken; who publishes with QoS 1 or 2 waits before.
    if (message.qos === 0 && !this.#options.store.accepting) return false
    const fromInside = message.origin.kind === 'function' || message.origin.kind === 'schedule'
    const room = log.room(bytes, fromInside || canWait(message))
    if (room === 'wait') return log.bytes + bytes <= 2 * log.limits.maxBytes
    return room !== 'drop-newest'
  }

  /** Gives one id to all copies of a message, and only when a consumer asks. */
  #messageId(): () => string {
    let id: string | undefined
    return () => {
      id ??= `${this.#idPrefix}-${(this.#ids++).toString(36)}`
      return id
    }
  }

  #route(topic: string): Route {
    const known = this.#routes.get(topic)
    if (known !== undefined) return known
    const best = new Map<DurableConsumer, Qos>()
    for (const { filter, value } of this.#index.match(topic)) {
      const qos = this.#qos.get(value)?.get(filter) ?? 0
      if (qos >= (best.get(value) ?? 0)) best.set(value, qos)
    }
    const consumers = [...best].map(([consumer, qos]) => ({ consumer, qos }))
    const route = { consumers, durability: durabilityOf(topic, this.#options.durability) }
    if (this.#routes.size >= routeCacheMax) {
      const oldest = this.#routes.keys().next()
      if (!oldest.done) this.#routes.delete(oldest.value)
    }
    this.#routes.set(topic, route)
    return route
  }
}

function isTight({ limits, bytes, records }: CommitLog): boolean {
  if (limits.overflow !== 'block' && limits.overflow !== 'drop-newest') return false
  return (
    bytes + tightBytes > limits.maxBytes ||
    (limits.maxRecords !== undefined && records + tightRecords > limits.maxRecords)
  )
}
