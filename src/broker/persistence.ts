/**
 * aedes's persistence as far as control packets need it: the subscriptions of persistent sessions. The rest of
 * aedes's interface is `full-persistence.ts`, on top of this.
 */
import { Readable } from 'node:stream'
import { filterMatches } from '#base/topics.ts'
import type { SubscriptionEntry, SubscriptionOptions } from './session.ts'
import type { SessionStore } from './session-store.ts'

export interface AedesClient {
  readonly id: string
}

export interface AedesSubscription extends SubscriptionOptions {
  readonly topic: string
  readonly qos: SubscriptionEntry['qos']
}

export interface AedesBroker {
  readonly id: string
}

export class SessionPersistence {
  readonly sessions: SessionStore
  #broker: AedesBroker | undefined

  constructor(sessions: SessionStore) {
    this.sessions = sessions
  }

  get broker(): AedesBroker | undefined {
    return this.#broker
  }

  /** aedes checks that it is an async function. */
  async setup(broker: AedesBroker): Promise<void> {
    this.#broker = broker
  }

  async addSubscriptions({ id }: AedesClient, subscriptions: readonly AedesSubscription[]): Promise<void> {
    const session = this.sessions.find(id) ?? (await this.sessions.open(id)).session
    await session.subscribe(subscriptions.map(toEntry))
  }

  async removeSubscriptions({ id }: AedesClient, filters: readonly string[]): Promise<void> {
    await this.sessions.find(id)?.unsubscribe(filters)
  }

  async subscriptionsByClient({ id }: AedesClient): Promise<AedesSubscription[]> {
    return (this.sessions.find(id)?.subscriptions ?? []).map(toSubscription)
  }

  /** Those of QoS 1 and 2 that match, a client's widest filters first. */
  async subscriptionsByTopic(topic: string): Promise<(AedesSubscription & { clientId: string })[]> {
    const found: (AedesSubscription & { clientId: string })[] = []
    for (const { clientId, subscriptions } of this.sessions.matching(topic)) {
      const matching = subscriptions.filter(({ filter, qos }) => qos > 0 && filterMatches(filter, topic))
      matching.sort((a, b) => (a.filter < b.filter ? 1 : -1))
      found.push(...matching.map(entry => ({ clientId, ...toSubscription(entry) })))
    }
    return found
  }

  async countOffline(): Promise<{ subsCount: number; clientsCount: number }> {
    let subsCount = 0
    let clientsCount = 0
    for (const { subscriptions } of this.sessions.list()) {
      if (subscriptions.length > 0) clientsCount += 1
      for (const { qos } of subscriptions) if (qos > 0) subsCount += 1
    }
    return { subsCount, clientsCount }
  }

  /** CONNECT with clean session = 1 ends the stored session [MQTT-3.1.2-6]. */
  async cleanSubscriptions({ id }: AedesClient): Promise<void> {
    await this.sessions.discard(id)
  }

  getClientList(filter: string): Readable {
    const sessions = [...this.sessions.list()]
    const subscribed = sessions.filter(session =>
      session.subscriptions.some(entry => entry.filter === filter),
    )
    return Readable.from(subscribed.map(({ clientId }) => clientId))
  }
}

function toEntry({ topic, qos, rh, rap, nl, subscriptionIdentifier }: AedesSubscription): SubscriptionEntry {
  const given = Object.entries({ rh, rap, nl, subscriptionIdentifier }).filter(
    ([, value]) => value !== undefined,
  )
  const entry = { filter: topic, qos }
  return given.length === 0 ? entry : { ...entry, options: Object.fromEntries(given) as SubscriptionOptions }
}

function toSubscription({ filter, qos, options }: SubscriptionEntry): AedesSubscription {
  return { topic: filter, qos, ...options }
}
