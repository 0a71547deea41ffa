/**
 * Admission of what one client publishes: staged, committed, and only then acknowledged (D1).
 *
 *   PUBLISH ─► duplicate? ─► room? ─► router.stage ─┐
 *   PUBLISH ─►   (as above)         router.stage ───┼─► one transaction for the packets of one read
 *                                + packet id ───────┘            │ store.commit
 *   PUBACK / PUBREC, in order of arrival ◄── its batch holds ◄───┘
 *
 * A resend of what was admitted is acknowledged again, behind the original's commit, and published no second time.
 * A packet that cannot be admitted now is answered with a `Hold`; nothing of it was staged, and whoever holds it
 * back asks again. Messages of one client are committed and acknowledged in the order in which they came
 * [MQTT-4.6.0-2] [MQTT-4.6.0-3].
 */
import type { Clock } from '#base/clock.ts'
import { asFescueError, type FescueError } from '#base/errors.ts'
import type { Counter } from '#base/metrics.ts'
import type { Origin } from '#router/message.ts'
import type { Router } from '#router/router.ts'
import type { CommitLog } from '#store/commit-log.ts'
import type { Store } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'
import { contentHash } from './content-hash.ts'
import type { Outgoing } from './outgoing.ts'
import { packetType } from './packet-check.ts'
import type { Publish } from './packet-reader.ts'
import { type InboundIds, inboundInflightMax } from './session.ts'

/** Why a PUBLISH must wait. */
export type Hold =
  | { readonly kind: 'log'; readonly log: CommitLog }
  /** The disk takes nothing new. */
  | { readonly kind: 'store' }
  /** `inboundInflightMax` messages of this client are not finished. */
  | { readonly kind: 'inflight' }

/** What all connections' admissions share. */
export interface AdmissionDeps {
  readonly router: Router
  readonly store: Store
  readonly clock: Clock
  /** Messages admitted, by QoS. */
  readonly received: readonly [Counter, Counter, Counter]
}

export interface AdmissionClient {
  readonly origin: Origin
  readonly outgoing: Outgoing
  readonly inbound: InboundIds
  /** Whether resends of QoS 1 are recognised: only a persistent session's are. */
  readonly persistent: boolean
  /** A commit failed: the store is closing, or one message is too large for it. */
  failed(error: FescueError): void
  /** Called after each batch that was acknowledged. */
  settled(): void
}

/** Bytes and operations of one transaction, copies for each consumer counted; then the next begins. */
const transactionBytesMax = 512 * 1024
const transactionOperationsMax = 512
/** How often a held packet looks whether the disk takes messages again. */
const storeRetryMs = 25

const storeHold: Hold = { kind: 'store' }
const inflightHold: Hold = { kind: 'inflight' }

export class Admission {
  readonly #deps: AdmissionDeps
  readonly #client: AdmissionClient
  #tx: Transaction | undefined
  #bytes = 0
  /** Whether the open transaction takes no further message. */
  #full = false
  /** Acknowledgements of the open transaction: type << 16 | packet id. */
  #acks: number[] = []
  /** Ids that the open transaction makes known: QoS << 16 | packet id. */
  #staged: number[] = []
  /** PUBACKs that wait for a commit. */
  #unacknowledged = 0
  #outstanding = 0

  constructor(deps: AdmissionDeps, client: AdmissionClient) {
    this.#deps = deps
    this.#client = client
  }

  /** Whether everything that came is committed and acknowledged. */
  get idle(): boolean {
    return this.#outstanding === 0 && this.#tx === undefined
  }

  /** Takes a PUBLISH into the open transaction, or says why it must wait. `submit` ends the transaction. */
  publish(packet: Publish): Hold | undefined {
    switch (packet.qos) {
      case 0:
        return this.#stage(packet)
      case 1:
        return this.#publish1(packet)
      default:
        return this.#publish2(packet)
    }
  }

  /** PUBREL: forgets the id, then PUBCOMP. */
  release(packetId: number): void {
    const { inbound, outgoing, persistent } = this.#client
    this.submit()
    inbound.release(packetId, error => {
      if (error !== undefined) return
      if (persistent || this.#outstanding === 0) outgoing.ack(packetType.pubcomp, packetId)
      else {
        this.#acknowledge(packetType.pubcomp, packetId)
        this.submit()
      }
    })
  }

  /** Hands the open transaction to the writer. */
  submit(): void {
    const tx = this.#tx
    if (tx === undefined) return
    const acks = this.#acks
    const staged = this.#staged
    this.#tx = undefined
    this.#acks = []
    this.#staged = []
    this.#bytes = 0
    this.#full = false
    this.#outstanding += 1
    try {
      this.#deps.store.commit(tx, error => this.#committed(acks, error))
    } catch (error) {
      this.#outstanding -= 1
      for (const id of staged) this.#client.inbound.revoke(id & 0xffff, id >> 16 === 2 ? 2 : 1)
      this.#client.failed(asFescueError(error))
    }
  }

  /** Calls once when a held packet should be tried again; the returned function cancels. */
  whenRoom(hold: Hold, retry: () => void): () => void {
    switch (hold.kind) {
      case 'log':
        return hold.log.onRoom(retry)
      case 'store':
        return this.#deps.clock.after(storeRetryMs, retry)
      case 'inflight':
        // The owner tries again at `settled` and at each PUBREL.
        return () => {}
    }
  }

  #publish1(packet: Publish): Hold | undefined {
    const { inbound, persistent } = this.#client
    const { packetId } = packet
    if (this.#unacknowledged >= inboundInflightMax) return inflightHold
    const hash = persistent ? hashOf(packet) : 0n
    if (!(packet.dup && persistent && inbound.isResend(packetId, hash))) {
      if (!this.#deps.store.accepting) return storeHold
      const hold = this.#stage(packet)
      if (hold !== undefined) return hold
      if (persistent) {
        inbound.stageQos1(this.#transaction(), packetId, hash)
        this.#staged.push((1 << 16) | packetId)
      }
    }
    this.#unacknowledged += 1
    this.#acknowledge(packetType.puback, packetId)
    return undefined
  }

  #publish2(packet: Publish): Hold | undefined {
    const { inbound } = this.#client
    const { packetId } = packet
    if (!inbound.has(packetId)) {
      if (inbound.size >= inboundInflightMax) return inflightHold
      if (!this.#deps.store.accepting) return storeHold
      const hold = this.#stage(packet)
      if (hold !== undefined) return hold
      inbound.stage(this.#transaction(), packetId)
      this.#staged.push((2 << 16) | packetId)
    }
    this.#acknowledge(packetType.pubrec, packetId)
    return undefined
  }

  #stage(packet: Publish): Hold | undefined {
    const { router, clock, received } = this.#deps
    const { topic, qos, retain, payloadFrom, payloadTo } = packet
    const bytes = payloadTo - payloadFrom
    if (this.#full) this.submit()
    const tx = this.#transaction()
    const before = tx.operations.length
    const staged = router.stage(tx, {
      topic,
      payload: this.#payload(packet),
      qos,
      retain,
      time: clock.now(),
      origin: this.#client.origin,
      hops: 0,
    })
    if (staged.outcome === 'wait') {
      this.submit()
      return { kind: 'log', log: staged.log }
    }
    received[qos].add()
    this.#bytes += bytes * (tx.operations.length - before)
    this.#full =
      staged.tight || this.#bytes > transactionBytesMax || tx.operations.length > transactionOperationsMax
    return undefined
  }

  /**
   * The payload as a part of what was read, or a copy when a log keeps it (in its cache of recent records) and it is
   * a small part: it would keep the whole read in memory.
   */
  #payload({ topic, buffer, payloadFrom, payloadTo }: Publish): Buffer {
    const payload = buffer.subarray(payloadFrom, payloadTo)
    if (buffer.length < 4 * payload.length + 1_024) return payload
    return this.#deps.router.consumersOf(topic).length === 0 ? payload : Buffer.from(payload)
  }

  #transaction(): Transaction {
    this.#tx ??= new Transaction()
    return this.#tx
  }

  #acknowledge(type: number, packetId: number): void {
    this.#transaction()
    this.#acks.push((type << 16) | packetId)
  }

  #committed(acks: readonly number[], error: FescueError | undefined): void {
    this.#outstanding -= 1
    const { outgoing } = this.#client
    if (error !== undefined) {
      this.#client.failed(error)
      return
    }
    for (const ack of acks) {
      const type = ack >> 16
      if (type === packetType.puback) this.#unacknowledged -= 1
      outgoing.ack(type, ack & 0xffff)
    }
    this.#client.settled()
  }
}

function hashOf(packet: Publish): bigint {
  return contentHash(packet.buffer, packet.topicFrom, packet.topicTo, packet.payloadFrom, packet.payloadTo)
}
