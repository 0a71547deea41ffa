/**
 * Retained messages for a new subscription, paced by what the client reads (MQTT 3.1.1 section 3.3.1.3).
 *
 * Each matching topic is sent once per SUBSCRIBE, with the retain flag and the lower of its QoS and the highest
 * that a matching filter of the packet was granted. To a persistent session QoS 1 and 2 go through its log, so
 * that packet ids and order are the session's. The filter is subscribed before the values are read, so a newer
 * value is never followed by an older one.
 */
import { filterMatches } from '#base/topics.ts'
import type { Retained } from '#router/retained.ts'
import type { Qos, RecordInput } from '#store/record.ts'
import type { Store } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'
import type { Connection } from './connection.ts'
import { type LiveSessions, lowerQos } from './live-sessions.ts'
import { linkBacklogMaxBytes, type SubscriptionEntry } from './session.ts'

export interface RetainedDeliveryDeps {
  readonly retained: Retained
  readonly store: Store
  readonly live: LiveSessions
}

/** Resolves once all is sent or queued, or the connection is closed. */
export async function deliverRetained(
  deps: RetainedDeliveryDeps,
  connection: Connection,
  entries: readonly SubscriptionEntry[],
): Promise<void> {
  for (const [i, { filter }] of entries.entries()) {
    const earlier = entries.slice(0, i)
    for await (const record of deps.retained.match(filter)) {
      if (connection.isClosed) return
      if (earlier.some(entry => filterMatches(entry.filter, record.topic))) continue
      send(deps, connection, record, lowerQos(record.qos, highestGrant(entries, record.topic)))
      if (connection.backlogBytes > linkBacklogMaxBytes) await drained(connection)
    }
  }
}

function send(deps: RetainedDeliveryDeps, connection: Connection, record: RecordInput, qos: Qos): void {
  const { client } = connection
  if (client === undefined) return
  if (client.session === undefined || qos === 0) {
    deps.live.deliverRetained(client.live, record, qos)
  } else {
    const tx = new Transaction()
    client.session.enqueue(tx, { ...record, qos, retain: true })
    deps.store.commit(tx)
  }
}

function highestGrant(entries: readonly SubscriptionEntry[], topic: string): Qos {
  let highest: Qos = 0
  for (const { filter, qos } of entries) if (qos > highest && filterMatches(filter, topic)) highest = qos
  return highest
}

function drained(connection: Connection): Promise<void> {
  return new Promise(resolve => connection.onDrain(resolve))
}
