/**
 * Connector `mqtt`: each record is a PUBLISH of QoS 1 to a broker, done when its PUBACK says so.
 *
 *   none ──numbers()──► open ──close, error, DISCONNECT──► lost ──reset()──► none
 *
 * MQTT 5, and 3.1.1 with a broker that does not know it: one that says so (CONNACK 1 or 0x84) is asked with 3.1.1
 * from then on; one that hangs up without a word is asked with it each fourth time. A broker keeps no numbers, so
 * delivery is at least once; the id travels in a user property (MQTT 5) or in the CloudEvent.
 *
 * In reading order: mqtt-session (one connection), mqtt-publication (a record as a packet), mqtt-delivery (a batch)
 * and send-window, mqtt-reasons (what the codes mean), downlink and redelivery (the other direction).
 * Loaded, with MQTT.js, when an uplink of this kind is configured.
 */
import type { IPublishPacket } from 'mqtt'
import { type Clock, sleep } from '#base/clock.ts'
import type { Logger } from '#base/logger.ts'
import type { MqttUplinkConfig, UplinkConfig } from '#config/device-config.ts'
import type { Store } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'
import type {
  Connector,
  EncodedBatch,
  NumbersOutcome,
  OutgoingBatch,
  SendOptions,
  SendOutcome,
} from './connector.ts'
import type { Downlink } from './downlink.ts'
import { Delivery } from './mqtt-delivery.ts'
import { hopsProperty, Publications, traceProperty } from './mqtt-publication.ts'
import { type Failure, reasonText, withoutRecord } from './mqtt-reasons.ts'
import { MqttSession, type Opened, type SessionOptions } from './mqtt-session.ts'
import { uplinkSpace } from './outbox.ts'
import type { Redelivery } from './redelivery.ts'
import { SendWindow } from './send-window.ts'

export interface MqttConnectorOptions {
  readonly device: string
  readonly uplink: UplinkConfig
  readonly mqtt: MqttUplinkConfig
  readonly clock: Clock
  readonly logger: Logger
  /** Undefined when nothing is subscribed to. */
  readonly down: Down | undefined
}

/** The other direction. */
export interface Down {
  readonly downlink: Downlink
  readonly redelivery: Redelivery
  readonly store: Store
}

type State =
  | { readonly type: 'none' }
  | { readonly type: 'open'; readonly session: MqttSession }
  | { readonly type: 'lost'; readonly failure: Failure }

const nothing = Buffer.alloc(0)
const unsupported: NumbersOutcome = { type: 'unsupported' }
const notConnected: Failure = { type: 'retryable', reason: 'not connected' }
/** A SUBACK from here on is a refusal. */
const subackFailureMin = 0x80
/** Filters of one SUBSCRIBE: AWS IoT Core takes 8. */
const filtersPerSubscribe = 8
/** Attempts with MQTT 5 that may stay without an answer before one with 3.1.1. */
const silencesMax = 3

export class MqttConnector implements Connector {
  readonly #options: MqttConnectorOptions
  readonly #publications: Publications
  readonly #window = new SendWindow()
  #state: State = { type: 'none' }
  /** The broker said that it does not know MQTT 5. */
  #isOld = false
  /** Attempts in a row at which the broker hung up without an answer. */
  #silences = 0
  #isLoaded = false
  #delivery: Delivery | undefined
  #onLost: () => void = () => {}

  constructor(options: MqttConnectorOptions) {
    const { device, mqtt, clock } = options
    this.#options = options
    this.#publications = new Publications({
      device,
      topic: mqtt.topic,
      format: mqtt.format,
      now: () => clock.now(),
    })
  }

  get lost(): string | undefined {
    return this.#state.type === 'lost' ? this.#state.failure.reason : undefined
  }

  onLost(listener: () => void): void {
    this.#onLost = listener
  }

  encode(batch: OutgoingBatch): EncodedBatch {
    return { batch, bytes: batch.bytes, body: nothing }
  }

  async send({ batch }: EncodedBatch, options: SendOptions): Promise<SendOutcome> {
    const state = this.#state
    if (state.type !== 'open') return state.type === 'lost' ? withoutRecord(state.failure) : notConnected
    const { clock } = this.#options
    const { session } = state
    const [publications, window] = [this.#publications, this.#window]
    const delivery = new Delivery({ ...options, session, batch, publications, window, clock })
    this.#delivery = delivery
    const outcome = await delivery.run()
    this.#delivery = undefined
    return outcome
  }

  /** Connects when there is no connection; a broker has no numbers to tell. */
  async numbers(
    _logs: readonly string[],
    _epochs: readonly string[],
    options: SendOptions,
  ): Promise<NumbersOutcome> {
    const state = this.#state
    if (state.type === 'open') return unsupported
    if (state.type === 'lost') return withoutRecord(state.failure)
    const opened = await this.#connect(options)
    if (opened.type === 'failed') return withoutRecord(opened.failure)
    const { session } = opened
    if (session.failure !== undefined) return withoutRecord(session.failure)
    this.#state = { type: 'open', session }
    const failure = await this.#within(this.#subscribe(session), options)
    return failure === undefined ? unsupported : withoutRecord(failure)
  }

  reset(): void {
    const state = this.#state
    this.#state = { type: 'none' }
    this.#options.down?.downlink.forget()
    if (state.type === 'open') state.session.close()
  }

  close(): void {
    this.reset()
    this.#options.down?.downlink.close()
  }

  async #connect({ signal, timeoutMs }: SendOptions): Promise<Opened> {
    const { uplink, mqtt, down } = this.#options
    const { clientId, username, password } = mqtt
    if (!this.#isLoaded) await down?.redelivery.load()
    this.#isLoaded = true
    let session: MqttSession | undefined
    const options = (version: 4 | 5): SessionOptions => ({
      url: new URL(uplink.url),
      version,
      clientId,
      username,
      password,
      tls: uplink.tls,
      persistent: down !== undefined,
      connectTimeoutMs: timeoutMs,
      signal,
      onMessage: (packet, acknowledge) => this.#arrived(packet, acknowledge),
      onLost: failure => this.#lost(session, failure),
    })
    const isLastResort = this.#silences >= silencesMax
    let opened = await MqttSession.open(options(this.#isOld || isLastResort ? 4 : 5))
    if (opened.type === 'failed' && opened.why === 'unknown-version' && !this.#isOld) {
      this.#isOld = true
      opened = await MqttSession.open(options(4))
    }
    const isSilent = opened.type === 'failed' && opened.why === 'silent'
    this.#silences = isSilent && !isLastResort ? this.#silences + 1 : 0
    if (opened.type === 'open') session = opened.session
    return opened
  }

  /** Subscribes to what the session at the broker has not, and leaves what is no longer configured. */
  async #subscribe(session: MqttSession): Promise<Failure | undefined> {
    const { down, uplink, logger } = this.#options
    if (down === undefined) return undefined
    const { downlink, redelivery, store } = down
    const key = `subscriptions/${uplink.name}`
    const { sessionPresent } = session.limits
    if (!sessionPresent) await redelivery.clear()
    const document = sessionPresent ? await store.get(uplinkSpace, key) : undefined
    const known: string[] = document === undefined ? [] : JSON.parse(document.toString())
    const { filters } = downlink
    const left = known.filter(filter => !filters.includes(filter))
    if (left.length > 0) await session.unsubscribe(left)
    const missing = filters.filter(filter => !known.includes(filter))
    for (let i = 0; i < missing.length; i += filtersPerSubscribe) {
      const some = missing.slice(i, i + filtersPerSubscribe)
      const granted = await session.subscribe(some)
      if (granted === undefined) return session.failure ?? notConnected
      const refused = granted.findIndex(reason => reason >= subackFailureMin)
      if (refused >= 0)
        return {
          type: 'refused',
          reason: `the broker refuses the subscription ${some[refused]}: ${reasonText(granted[refused] ?? 0)}`,
        }
      const weak = some.filter((_, index) => granted[index] === 0)
      if (weak.length > 0)
        logger.warn(
          { uplink: uplink.name, filters: weak },
          'the broker grants QoS 0 only: messages may be lost',
        )
    }
    if (left.length === 0 && missing.length === 0) return undefined
    const tx = new Transaction().require('process')
    tx.put(uplinkSpace, key, Buffer.from(JSON.stringify(filters)))
    await store.write(tx)
    return undefined
  }

  /** What `work` gives, or a failure when it takes too long or the link is cut. */
  #within(
    work: Promise<Failure | undefined>,
    { signal, timeoutMs }: SendOptions,
  ): Promise<Failure | undefined> {
    const waiting = new AbortController()
    const expired = sleep(this.#options.clock, timeoutMs, AbortSignal.any([signal, waiting.signal]))
    const late = expired.then(
      (): Failure => ({ type: 'timeout', reason: 'the broker does not answer SUBSCRIBE' }),
    )
    return Promise.race([work, late]).finally(() => waiting.abort())
  }

  #arrived(packet: IPublishPacket, acknowledge: (reason?: number) => void): void {
    const { down } = this.#options
    const { topic, payload, qos, retain, dup, messageId = 0, properties } = packet
    const user = properties?.userProperties ?? {}
    const taken = down?.downlink.take({
      topic,
      payload: Buffer.isBuffer(payload) ? payload : Buffer.from(payload),
      qos: qos === 0 ? 0 : 1,
      retain,
      dup,
      packetId: messageId,
      contentType: properties?.contentType,
      expiryS: properties?.messageExpiryInterval,
      trace: textOf(user[traceProperty]),
      hops: countOf(textOf(user[hopsProperty])),
      acknowledge,
    })
    // More than any broker may have under way: it sends again once we are back.
    if (taken === false && this.#state.type === 'open') this.#state.session.close()
  }

  #lost(session: MqttSession | undefined, failure: Failure): void {
    if (this.#state.type === 'open' && this.#state.session !== session) return
    if (this.#state.type === 'none') return
    this.#state = { type: 'lost', failure }
    this.#options.down?.downlink.forget()
    this.#delivery?.lost(failure)
    this.#onLost()
  }
}

function textOf(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value
}

function countOf(text: string | undefined): number {
  return text !== undefined && /^\d{1,3}$/.test(text) ? Number(text) : 0
}
