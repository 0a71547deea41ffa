/**
 * The way down: messages that a cloud's broker sends us are published here like any other, each acknowledged once
 * it is committed (D1), in the order in which they came.
 *
 *   broker ─► MqttSession ─► queue ─► router.stage ─► commit ─► PUBACK         beside: redelivery
 *                              ▲ waits here while a log with overflow `block` is full, or the disk is
 *
 * The wait has no limit of time: what is withheld is bounded by what the broker may have under way to us, and it
 * keeps the rest. It holds up nothing else, neither what goes up nor the keep-alive.
 *
 * Loops: a message carries its uplink as origin, and routes to that uplink pass it over. `fescue-hops` (MQTT 5)
 * goes up and comes down, one more each time; at `hopsMax` a message is not admitted.
 */
import { type Clock, sleep } from '#base/clock.ts'
import type { Logger } from '#base/logger.ts'
import type { Counter, Metrics } from '#base/metrics.ts'
import { filterMatches, problemOfTopic } from '#base/topics.ts'
import type { DownlinkConfig } from '#config/device-config.ts'
import { hopsMax, type Message } from '#router/message.ts'
import type { Router } from '#router/router.ts'
import type { CommitLog } from '#store/commit-log.ts'
import type { Store } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'
import type { Redelivery } from './redelivery.ts'

export interface DownlinkOptions {
  readonly uplink: string
  readonly downlink: readonly DownlinkConfig[]
  readonly store: Store
  readonly router: Router
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: Metrics
  readonly redelivery: Redelivery
}

/** A message as the broker sent it. */
export interface Arrival {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: 0 | 1
  readonly retain: boolean
  readonly dup: boolean
  /** 0 with QoS 0. */
  readonly packetId: number
  readonly contentType: string | undefined
  readonly expiryS: number | undefined
  readonly trace: string | undefined
  /** As the sender counted; 0 when it did not. */
  readonly hops: number
  /** Sends the PUBACK, with an MQTT 5 reason when the message is not taken. */
  acknowledge(reason?: number): void
}

/** Messages that may wait here. MQTT 5 brokers keep to far fewer; one that does not loses its connection. */
export const waitingMax = 1_024
/** Time between two looks for room. */
const roomLookMs = 1_000
const topicInvalid = 0x90
const implementationSpecific = 0x83

export class Downlink {
  readonly #options: DownlinkOptions
  readonly #waiting: Arrival[] = []
  readonly #closed = new AbortController()
  #pumping = false
  readonly #admitted: Counter
  readonly #repeated: Counter
  readonly #refused: Counter

  constructor(options: DownlinkOptions) {
    const { metrics, uplink } = options
    this.#options = options
    const counter = (outcome: string) =>
      metrics.counter('fescue_downlink_messages_total', 'Messages that came down, by what became of them.', {
        uplink,
        outcome,
      })
    this.#admitted = counter('admitted')
    this.#repeated = counter('repeated')
    this.#refused = counter('refused')
  }

  get filters(): readonly string[] {
    return this.#options.downlink.map(({ filter }) => filter)
  }

  /** Takes a message; false when too many wait already. */
  take(arrival: Arrival): boolean {
    if (this.#waiting.length >= waitingMax) return false
    this.#waiting.push(arrival)
    void this.#pump()
    return true
  }

  /** The connection is gone: what was not staged will be sent again. */
  forget(): void {
    this.#waiting.length = 0
  }

  close(): void {
    this.forget()
    this.#closed.abort()
  }

  async #pump(): Promise<void> {
    if (this.#pumping) return
    this.#pumping = true
    const { store, clock } = this.#options
    try {
      for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
        const full = store.accepting ? this.#admit(next) : undefined
        if (full === 'done') this.#waiting.shift()
        else await (full === undefined ? sleep(clock, roomLookMs, this.#closed.signal) : this.#roomIn(full))
      }
    } finally {
      this.#pumping = false
    }
  }

  /** Commits the message, or says which log must first have room. */
  #admit(arrival: Arrival): 'done' | CommitLog {
    const { router, store, redelivery } = this.#options
    const { topic, payload, packetId, qos, dup } = arrival
    const tx = new Transaction()
    const message = this.#message(arrival)
    if (typeof message === 'number') return this.#refuse(arrival, message)
    if (dup && redelivery.has(packetId, topic, payload)) {
      // Its admission may still be on its way to disk: acknowledged behind it.
      this.#repeated.add()
      tx.require('power')
    } else {
      const staged = router.stage(tx, message)
      if (staged.outcome === 'wait') return staged.log
      if (qos > 0) redelivery.note(tx, packetId, topic, payload)
      this.#admitted.add()
    }
    store.commit(tx, error => {
      if (error === undefined) arrival.acknowledge()
    })
    return 'done'
  }

  #refuse(arrival: Arrival, reason: number): 'done' {
    const { logger, store, uplink } = this.#options
    this.#refused.add()
    const why =
      reason === topicInvalid ? 'its topic is not valid here' : `it passed ${hopsMax} functions and links`
    logger.warn({ uplink, topic: arrival.topic }, `a message of the downlink is not taken: ${why}`)
    // Behind those before it: PUBACKs leave in the order of arrival [MQTT-4.6.0-2].
    store.commit(new Transaction().require('process'), error => {
      if (error === undefined) arrival.acknowledge(reason)
    })
    return 'done'
  }

  /** The message as it is published here, or the reason why not. */
  #message(arrival: Arrival): Message | number {
    const { downlink, uplink, clock } = this.#options
    const entry = downlink.find(({ filter }) => filterMatches(filter, arrival.topic))
    const topic = `${entry?.prefix ?? ''}${arrival.topic}`
    const hops = arrival.hops + 1
    if (problemOfTopic(topic) !== undefined) return topicInvalid
    if (hops >= hopsMax) return implementationSpecific
    const { payload, qos, retain, contentType, expiryS, trace } = arrival
    const time = clock.now()
    return {
      topic,
      payload,
      qos,
      retain,
      time,
      hops,
      origin: { kind: 'downlink', name: uplink },
      ...(contentType !== undefined && { contentType }),
      ...(expiryS !== undefined && { expiresAt: time + expiryS * 1_000 }),
      ...(trace !== undefined && { trace }),
    }
  }

  async #roomIn(log: CommitLog): Promise<void> {
    const look = new AbortController()
    const forget = log.onRoom(() => look.abort())
    await sleep(this.#options.clock, roomLookMs, AbortSignal.any([look.signal, this.#closed.signal]))
    forget()
  }
}
