/**
 * Who is online and wants what: delivery of committed messages to connected clients.
 *
 *   router.onDeliver(message) ─► match (cached per topic) ─► encode once per QoS ─► each client's outgoing
 *
 * QoS 0 goes to anyone online, QoS 1 and 2 only to clean sessions; persistent ones are served from their log, so
 * that order holds. A client gets one copy, with the lower of the message's QoS and the highest of its matching
 * subscriptions [MQTT-3.3.5-1].
 */
import type { Counter } from '#base/metrics.ts'
import type { Message } from '#router/message.ts'
import { TopicIndex } from '#router/topic-index.ts'
import type { Qos, RecordInput } from '#store/record.ts'
import type { LiveClient } from './live-client.ts'
import { type EncodedPublish, PublishEncoder } from './packet-writer.ts'

interface Target {
  readonly client: LiveClient
  readonly qos: Qos
}

interface Audience {
  readonly topicBytes: Buffer
  readonly targets: readonly Target[]
}

/** Topics whose audience is remembered. */
const audiencesMax = 10_000

export class LiveSessions {
  readonly #index = new TopicIndex<LiveClient>()
  readonly #audiences = new Map<string, Audience>()
  readonly #encoder = new PublishEncoder()
  /** Messages sent, by QoS. */
  readonly #sent: readonly [Counter, Counter, Counter]
  #version = -1

  constructor(sent: readonly [Counter, Counter, Counter]) {
    this.#sent = sent
  }

  /** Subscriptions of all clients online. */
  get size(): number {
    return this.#index.size
  }

  subscribe(client: LiveClient, filter: string, qos: Qos): void {
    client.subscriptions.set(filter, qos)
    this.#index.add(filter, client)
    this.#audiences.clear()
  }

  unsubscribe(client: LiveClient, filter: string): void {
    if (client.subscriptions.delete(filter)) this.#index.remove(filter, client)
  }

  leave(client: LiveClient): void {
    for (const filter of client.subscriptions.keys()) this.#index.remove(filter, client)
    client.subscriptions.clear()
  }

  /** Delivers a committed message; the retain flag is cleared [MQTT-3.3.1-9]. */
  deliver(message: Message): void {
    const { topicBytes, targets } = this.#audience(message.topic)
    let encoded: EncodedPublish | undefined
    let encodedQos: Qos = 0
    for (const { client, qos: granted } of targets) {
      const qos = lowerQos(granted, message.qos)
      if (qos > 0 && client.persistent) continue
      if (encoded === undefined || encodedQos !== qos) {
        encoded = this.#encoder.encode(topicBytes, message.payload, qos, false)
        encodedQos = qos
      }
      if (client.deliver(encoded, qos)) this.#sent[qos].add()
    }
  }

  /** Sends a retained message to one client, with the retain flag set [MQTT-3.3.1-8]. */
  deliverRetained(client: LiveClient, record: RecordInput, qos: Qos): void {
    const encoded = this.#encoder.encode(Buffer.from(record.topic), record.payload, qos, true)
    if (client.deliver(encoded, qos)) this.#sent[qos].add()
  }

  #audience(topic: string): Audience {
    if (this.#version !== this.#index.version) {
      this.#audiences.clear()
      this.#version = this.#index.version
    }
    const known = this.#audiences.get(topic)
    if (known !== undefined) return known
    const best = new Map<LiveClient, Qos>()
    for (const { filter, value } of this.#index.match(topic)) {
      const qos = value.subscriptions.get(filter) ?? 0
      if (qos >= (best.get(value) ?? 0)) best.set(value, qos)
    }
    const targets = [...best].map(([client, qos]) => ({ client, qos })).sort((a, b) => a.qos - b.qos)
    const audience = { topicBytes: Buffer.from(topic), targets }
    if (this.#audiences.size >= audiencesMax) {
      const oldest = this.#audiences.keys().next()
      if (!oldest.done) this.#audiences.delete(oldest.value)
    }
    this.#audiences.set(topic, audience)
    return audience
  }
}

export function lowerQos(a: Qos, b: Qos): Qos {
  return Math.min(a, b) as Qos
}
