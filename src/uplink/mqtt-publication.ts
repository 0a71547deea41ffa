/**
 * A record as it goes to an MQTT broker: topic by the uplink's template, payload by its format, and the identity.
 *
 *   raw          payload as it is; MQTT 5: `fescue-id`, `fescue-hops`, `traceparent` as user properties
 *   cloudevents  one CloudEvent in structured mode (application/cloudevents+json), its `id` inside
 *
 * An entry of the loss ledger goes to the topic `fescue/lost` of the template: brokers keep topics that begin with
 * `$` for themselves. The packet's size is worked out by MQTT 5.0 section 3.3, because a packet above the
 * broker's maximum must not be sent [MQTT-3.1.2-24].
 */
import { recordId } from '#base/ids.ts'
import type { LogRecord } from '#store/record.ts'
import { CloudEventsEncoder } from './cloud-events.ts'
import type { OutgoingBatch } from './connector.ts'

export interface PublicationOptions {
  readonly device: string
  /** `{topic}` and `{device}` are replaced. */
  readonly topic: string
  readonly format: 'raw' | 'cloudevents'
  /** Milliseconds since the epoch now: what is left of an expiry is worked out from it. */
  readonly now: () => number
}

export interface Publication {
  readonly topic: string
  readonly payload: Buffer
  /** MQTT 5 only. */
  readonly properties: {
    contentType?: string
    messageExpiryInterval?: number
    userProperties: Record<string, string>
  }
}

export const idProperty = 'fescue-id'
export const hopsProperty = 'fescue-hops'
export const traceProperty = 'traceparent'
export const lostTopic = 'fescue/lost'
const eventType = 'application/cloudevents+json'
const expiryMaxS = 0xffff_ffff

export class Publications {
  readonly #options: PublicationOptions
  readonly #encoder: CloudEventsEncoder

  constructor(options: PublicationOptions) {
    this.#options = options
    this.#encoder = new CloudEventsEncoder(options.device)
  }

  /** The record at `index` of a batch. */
  of(batch: OutgoingBatch, index: number): Publication | undefined {
    const record = batch.records[index]
    if (record === undefined) return undefined
    const isRaw = this.#options.format === 'raw'
    const properties = this.#properties(batch, record)
    const contentType = isRaw ? record.contentType : eventType
    if (contentType !== undefined) properties.contentType = contentType
    return {
      topic: this.topicOf(batch.kind === 'loss' ? lostTopic : record.topic),
      payload: isRaw ? record.payload : this.#event(batch, record, index),
      properties,
    }
  }

  topicOf(topic: string): string {
    return this.#options.topic.replaceAll(/\{(topic|device)\}/g, (_, name) =>
      name === 'topic' ? topic : this.#options.device,
    )
  }

  #properties(batch: OutgoingBatch, record: LogRecord): Publication['properties'] {
    const { device, now } = this.#options
    const [, log = '', incarnation = '0'] = /^(.*)\.(\d+)$/.exec(batch.log) ?? []
    const userProperties: Record<string, string> = {
      [idProperty]: recordId(device, record.epoch, log, Number(incarnation), record.offset),
    }
    if (record.hops !== undefined) userProperties[hopsProperty] = String(record.hops)
    if (record.trace !== undefined) userProperties[traceProperty] = record.trace
    if (record.expiresAt === undefined) return { userProperties }
    const leftS = Math.ceil((record.expiresAt - now()) / 1000)
    return { userProperties, messageExpiryInterval: Math.min(Math.max(leftS, 1), expiryMaxS) }
  }

  /** One event of a batch of one, without the brackets of the list. */
  #event(batch: OutgoingBatch, record: LogRecord, index: number): Buffer {
    const before = batch.records[index - 1]
    const one = {
      ...batch,
      records: [record],
      from: before === undefined ? batch.from : before.offset + 1,
      after: before === undefined ? batch.after : before.epoch,
    }
    return this.#encoder.encode(one).subarray(1, -1)
  }
}

/** Bytes of the PUBLISH packet of QoS 1, at most a few above the real number. */
export function packetBytes({ topic, payload, properties }: Publication, version: 4 | 5): number {
  // Fixed header 5, length of the topic 2, packet id 2.
  const bytes = 9 + Buffer.byteLength(topic) + payload.length
  if (version === 4) return bytes
  // Length of the properties 4; each with an identifier of 1 and texts with lengths of 2.
  let more = 4 + (properties.messageExpiryInterval === undefined ? 0 : 5)
  if (properties.contentType !== undefined) more += 3 + Buffer.byteLength(properties.contentType)
  for (const [name, value] of Object.entries(properties.userProperties))
    more += 5 + Buffer.byteLength(name) + Buffer.byteLength(value)
  return bytes + more
}
