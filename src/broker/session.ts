/**
 * A persistent MQTT session (clean session = 0) as the connection that carries it sees it.
 *
 *   connection (frames, guard, one write per turn)          session (log, checkpoint, ids on disk)
 *     PUBLISH in  ── admission ── inbound.stage…(tx) ──►      QoS 2 ids, QoS 1 resends
 *     PUBACK in   ── acknowledge ─────────────────────►      in-flight window moves, pump sends on
 *     PUBLISH out ◄────────────── link.send ──────────       pump: offset order, at most sessionInflight
 *
 * QoS >= 1 to a persistent session leaves only from its log, online or not, so order holds. QoS 0 and clean
 * sessions are served live (`live-sessions.ts`).
 */
import type { Qos, RecordInput } from '#store/record.ts'
import type { Transaction } from '#store/transaction.ts'

/** What a session asks of the connection that it is attached to. */
export interface SessionLink {
  /** Queues bytes of whole packets for this turn's write. */
  send(packet: Buffer): void
  /** Bytes accepted but not yet taken by the kernel; the pump pauses above `linkBacklogMaxBytes`. */
  readonly backlogBytes: number
  /** Calls once when the backlog has fallen again. */
  onDrain(callback: () => void): void
}

/** What a client sent us and may send again; survives the connection with its session. */
export interface InboundIds {
  /** QoS 2 packet ids received and not yet released, staged ones included. */
  has(packetId: number): boolean
  /** Their number; admission refuses above `inboundInflightMax` before it commits anything. */
  readonly size: number
  /** Adds a QoS 2 id in the admission's batch. `packet` is kept with it only when given. */
  stage(tx: Transaction, packetId: number, packet?: RecordInput): void
  /** PUBREL: `done` runs once the deletion is safe, then PUBCOMP may go out. Unknown ids are done at once. */
  release(packetId: number, done: (error?: Error) => void): void
  /** Whether a QoS 1 PUBLISH with DUP=1 repeats one that was admitted with this id and content hash. */
  isResend(packetId: number, hash: bigint): boolean
  /** Remembers an admitted QoS 1 PUBLISH in its batch (a bounded table, newest kept). */
  stageQos1(tx: Transaction, packetId: number, hash: bigint): void
  /** Forgets what was staged into a transaction that the store refused: sent again, it is a new message. */
  revoke(packetId: number, qos: 1 | 2): void
}

/** MQTT 5 subscription options as aedes passes them: kept and given back, without effect. */
export interface SubscriptionOptions {
  readonly rh?: number
  readonly rap?: boolean
  readonly nl?: boolean
  readonly subscriptionIdentifier?: number
}

export interface SubscriptionEntry {
  readonly filter: string
  readonly qos: Qos
  readonly options?: SubscriptionOptions
}

/**
 * What a PUBACK or PUBCOMP did. `unknown`: no such id on its way, ignore it. `wrong`: the packet does not belong
 * to the flow of this id (PUBACK for QoS 2, PUBCOMP for QoS 1): a protocol violation, nothing changed.
 */
export type AckOutcome = 'done' | 'unknown' | 'wrong'

export interface Session {
  readonly clientId: string
  readonly inbound: InboundIds
  readonly subscriptions: readonly SubscriptionEntry[]
  /** Records waiting for this client. */
  readonly queued: number
  /** Starts serving a connection after its CONNACK: first PUBREL and unacknowledged PUBLISH again (DUP), then on. */
  attach(link: SessionLink): void
  /** Stops serving; the unacknowledged stay for the next connection. */
  detach(link: SessionLink): void
  /** PUBACK (QoS 1) or PUBCOMP (QoS 2). */
  acknowledge(packetId: number, packet: 'puback' | 'pubcomp'): AckOutcome
  /**
   * PUBREC: `done` runs once the state is kept, then PUBREL may go out (for an unknown id at once). An error
   * means a PUBREC for a QoS 1 flow (FESCUE_PACKET_MALFORMED) or a store that closes: no PUBREL.
   */
  received(packetId: number, done: (error?: Error) => void): void
  /**
   * Adds subscriptions or changes their QoS; resolves once they are durable, then SUBACK may go out. Messages
   * committed after the call are queued already. QoS 0 entries are kept but never queue.
   * Errors: FESCUE_STORE_FULL above `subscriptionsMax`, with nothing changed.
   */
  subscribe(entries: readonly SubscriptionEntry[]): Promise<void>
  /** Removes subscriptions; resolves once that is durable, then UNSUBACK may go out. Unknown filters are ignored. */
  unsubscribe(filters: readonly string[]): Promise<void>
  /**
   * Queues a record for this client alone, in the caller's transaction: a retained message at SUBSCRIBE (with
   * `retain` set and `qos` already the lower of the message's and the granted one, 1 or 2). Whether it was kept.
   */
  enqueue(tx: Transaction, record: RecordInput): boolean
}

/** The sessions of the broker, loaded before any listener opens. */
export interface Sessions extends AsyncDisposable {
  find(clientId: string): Session | undefined
  /**
   * The stored session, or a new one (durable before CONNACK). `present` says whether it existed.
   * Errors: FESCUE_STORE_FULL above `sessionsMax`.
   */
  open(clientId: string): Promise<{ session: Session; present: boolean }>
  /** Ends a session: log, ids, subscriptions and documents go ([MQTT-3.1.2-6]). Its link is not served any more. */
  discard(clientId: string): Promise<void>
  readonly size: number
  list(): Iterable<Session>
}

export interface WillMessage {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: Qos
  readonly retain: boolean
}

/** Whose will it is: the client and the user that it authenticated as. */
export interface WillOwner {
  readonly clientId: string
  readonly username?: string
}

/** A stored will, as its connection keeps it: a client that takes over from itself has two for a moment. */
export interface WillHandle {
  readonly key: string
  readonly owner: WillOwner
}

/** The wills as the broker uses them; the connection decides which of these its end calls for. */
export interface WillStore extends AsyncDisposable {
  /** Stores a will; resolves once it is durable, then CONNACK goes out. */
  store(owner: WillOwner, message: WillMessage): Promise<WillHandle>
  /** The connection ended without DISCONNECT [MQTT-3.1.2-8]: message and deletion in one batch. Never rejects. */
  publish(will: WillHandle): Promise<void>
  /** DISCONNECT came [MQTT-3.14.4-3]. */
  forget(will: WillHandle): Promise<void>
  /** The client is connected again: what it left in an earlier life is void. */
  returned(clientId: string): Promise<void>
}

/** A QoS 2 flow that is not released, or a publish that is not acknowledged: per client (D6). */
export const inboundInflightMax = 1_000
/** Unacknowledged QoS >= 1 messages that a persistent session may have on its way. */
export const sessionInflight = 20
/** Bytes waiting in a connection above which pumps and live delivery pause. */
export const linkBacklogMaxBytes = 256 * 1024
/** Persistent sessions that are kept; a CONNECT that would add one more is refused. */
export const sessionsMax = 10_000
/** Subscriptions of one persistent session. */
export const subscriptionsMax = 1_000
