/**
 * Live delivery to one connected client: what it subscribed to, packet ids of what it has not acknowledged, and
 * what happens when it reads too slowly.
 *
 *   backlog   0 ─────────────── 1 MiB ────────────────── 4 MiB
 *             all is sent        QoS 0 dropped, counted    disconnected at once
 *                                drain timer runs; still above when it ends: disconnected
 *
 * Nobody else ever waits for a slow client (D6). A clean session keeps nothing to send again, so only ids are
 * remembered; QoS 1 and 2 to a persistent session come from its log, with ids of its own (`session-pump.ts`).
 */
import type { Clock } from '#base/clock.ts'
import type { Counter } from '#base/metrics.ts'
import type { Qos } from '#store/record.ts'
import type { Outgoing } from './outgoing.ts'
import { packetType } from './packet-check.ts'
import type { EncodedPublish } from './packet-writer.ts'
import type { AckOutcome } from './session.ts'

/** Backlog above which QoS 0 is dropped and the client must drain. */
export const liveBacklogMaxBytes = 1024 * 1024
/** Backlog at which a client is disconnected at once. */
export const liveBacklogHardMaxBytes = 4 * 1024 * 1024
/** Unacknowledged QoS 1 and 2 messages of a clean session; at one more it is disconnected. */
export const liveInflightMax = 32_768
const packetIdMax = 65_535

export interface LiveClientOptions {
  readonly id: string
  readonly persistent: boolean
  readonly outgoing: Outgoing
  readonly clock: Clock
  /** How long a backlog above `liveBacklogMaxBytes` may last. */
  readonly drainTimeoutMs: number
  readonly dropped: Counter
  /** Ends the connection; called once. */
  tooSlow(reason: string): void
}

export class LiveClient {
  readonly id: string
  /** QoS >= 1 comes from the session's log, not from here. */
  readonly persistent: boolean
  readonly outgoing: Outgoing
  /** Granted QoS by filter. */
  readonly subscriptions = new Map<string, Qos>()
  readonly #options: LiveClientOptions
  /** Packet id → what is awaited: PUBACK (1), PUBREC (2) or PUBCOMP (3). */
  readonly #inflight = new Map<number, 1 | 2 | 3>()
  #lastId = 0
  #cancelDrain: (() => void) | undefined
  #ended = false

  constructor(options: LiveClientOptions) {
    this.#options = options
    this.id = options.id
    this.persistent = options.persistent
    this.outgoing = options.outgoing
  }

  /** Sends, or drops by the rules above. Returns whether it was sent. */
  deliver(encoded: EncodedPublish, qos: Qos): boolean {
    if (this.outgoing.backlogBytes > liveBacklogMaxBytes && !this.#mayPass(qos)) return false
    if (qos === 0) {
      this.outgoing.publish(encoded, 0)
      return true
    }
    if (this.#inflight.size >= liveInflightMax) {
      this.#end(`${liveInflightMax} messages without an acknowledgement`)
      return false
    }
    const packetId = this.#freeId()
    this.#inflight.set(packetId, qos)
    this.outgoing.publish(encoded, packetId)
    return true
  }

  puback(packetId: number): AckOutcome {
    return this.#settle(packetId, 1)
  }

  /** PUBREL answers also an unknown id: the client then forgets it. */
  pubrec(packetId: number): AckOutcome {
    const awaited = this.#inflight.get(packetId)
    if (awaited === 1) return 'wrong'
    if (awaited === 2) this.#inflight.set(packetId, 3)
    this.outgoing.ack(packetType.pubrel, packetId)
    return 'done'
  }

  pubcomp(packetId: number): AckOutcome {
    return this.#settle(packetId, 3)
  }

  /** The connection is gone. */
  end(): void {
    this.#ended = true
    this.#cancelDrain?.()
  }

  #settle(packetId: number, expected: 1 | 3): AckOutcome {
    const awaited = this.#inflight.get(packetId)
    if (awaited === undefined) return 'unknown'
    if (awaited !== expected) return 'wrong'
    this.#inflight.delete(packetId)
    return 'done'
  }

  #freeId(): number {
    do this.#lastId = this.#lastId === packetIdMax ? 1 : this.#lastId + 1
    while (this.#inflight.has(this.#lastId))
    return this.#lastId
  }

  #mayPass(qos: Qos): boolean {
    if (this.#ended) return false
    if (this.outgoing.backlogBytes > liveBacklogHardMaxBytes) {
      this.#end(`${liveBacklogHardMaxBytes} bytes not read`)
      return false
    }
    this.#cancelDrain ??= this.#options.clock.after(this.#options.drainTimeoutMs, () => {
      this.#cancelDrain = undefined
      if (this.outgoing.backlogBytes > liveBacklogMaxBytes)
        this.#end(`more than ${liveBacklogMaxBytes} bytes not read for ${this.#options.drainTimeoutMs} ms`)
    })
    if (qos > 0) return true
    this.#options.dropped.add()
    return false
  }

  #end(reason: string): void {
    if (this.#ended) return
    this.end()
    this.#options.tooSlow(reason)
  }
}
