/**
 * What the broker is given and what it gives: options with the defaults of its bounds (D6), and its public face.
 */
import type { Clock } from '#base/clock.ts'
import type { Logger } from '#base/logger.ts'
import type { Metrics } from '#base/metrics.ts'
import type { Service } from '#base/service.ts'
import type { Router } from '#router/router.ts'
import type { Store } from '#store/store.ts'
import type { Users } from './authentication.ts'
import type { TlsFiles } from './listener.ts'
import type { SessionLimits, SessionStore } from './session-store.ts'

export interface BrokerOptions {
  readonly store: Store
  readonly router: Router
  readonly users: Users
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: Metrics
  readonly host: string
  /** 0 picks a free one. */
  readonly port: number
  readonly tls?: TlsFiles
  readonly limits?: Partial<BrokerLimits>
  readonly sessionLimits?: Partial<SessionLimits>
  /** How long wills of an earlier life wait for their clients (30 s). */
  readonly willGraceMs?: number
}

export interface BrokerLimits {
  /** Largest packet of an accepted client (256 KiB). */
  readonly maxPacketBytes: number
  /** Longest wait of a publish for room (10 s). */
  readonly blockMs: number
  /** Time to CONNECT (5 s). */
  readonly connectTimeoutMs: number
  /** How long a client may leave more than 1 MiB unread (4 s). */
  readonly drainTimeoutMs: number
  readonly connectionsMax: number
  readonly unauthenticatedMax: number
  readonly unauthenticatedPerAddressMax: number
  /** Subscriptions of all clients online together. */
  readonly subscriptionsTotalMax: number
}

export const defaultBrokerLimits: BrokerLimits = {
  maxPacketBytes: 256 * 1024,
  blockMs: 10_000,
  connectTimeoutMs: 5_000,
  drainTimeoutMs: 4_000,
  connectionsMax: 10_000,
  unauthenticatedMax: 1_000,
  unauthenticatedPerAddressMax: 100,
  subscriptionsTotalMax: 100_000,
}

/** One accepted client, for `status` and the dashboard. */
export interface ClientInfo {
  readonly id: string
  readonly address: string
  readonly username: string | undefined
  readonly clean: boolean
  /** Milliseconds since the epoch. */
  readonly connectedAt: number
  readonly subscriptions: number
  readonly backlogBytes: number
}

export interface Broker extends Service {
  readonly host: string
  readonly port: number
  readonly sessions: SessionStore
  readonly clients: { readonly count: number; list(): Iterable<ClientInfo> }
  /** Ends the connections of a user whose access was revoked. */
  disconnectUser(username: string): void
  /** Ends the connections of all who may not connect any more; they would end by themselves soon. */
  checkUsers(): Promise<void>
  /**
   * Reads what a change needs; the function that it gives applies it, and cannot fail. Connections stand: a packet
   * size and a certificate count for those that come, waits for all. Errors: FESCUE_CONFIG_UNREADABLE,
   * FESCUE_CONFIG_INVALID.
   */
  prepare(change: BrokerChange): Promise<() => void>
}

export interface BrokerChange {
  readonly limits: Pick<BrokerLimits, 'maxPacketBytes' | 'blockMs'>
  readonly sessionLimits: Pick<SessionLimits, 'log' | 'expiryMs'>
  readonly tls: TlsFiles | undefined
}
