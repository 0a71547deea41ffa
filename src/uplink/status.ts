/** How a link stands, for `status`, the metrics and the dashboard. Times are milliseconds since the epoch. */
import type { CommitLog } from '#store/commit-log.ts'

export type LinkState =
  | { readonly state: 'connecting'; readonly since: number }
  | { readonly state: 'connected'; readonly since: number }
  /** The receiver cannot be reached, or asked to wait; next try at `retryAt`. */
  | { readonly state: 'offline'; readonly since: number; readonly reason: string; readonly retryAt: number }
  /** Wrong credentials or address: tried slowly until it is mended. */
  | { readonly state: 'refused'; readonly since: number; readonly reason: string; readonly retryAt: number }
  /** Cut on purpose. */
  | { readonly state: 'cut'; readonly since: number }
  | { readonly state: 'stopped'; readonly since: number }

export interface LogStatus {
  /** `log.incarnation`. */
  readonly log: string
  /** Route, or undefined for the ledger and for a route that is no longer configured. */
  readonly route: string | undefined
  readonly filter: string | undefined
  readonly priority: number
  /** The log itself, for its bounds. */
  readonly stored: CommitLog
  readonly records: number
  readonly bytes: number
  readonly oldestAt: number | undefined
  /** Offset up to which the receiver acknowledged. */
  readonly acknowledged: number
  /** Records acknowledged a second of late. */
  readonly perSecond: number
}

export interface LinkStatus {
  readonly uplink: string
  readonly url: string
  readonly link: LinkState
  readonly lastAckAt: number | undefined
  /** Records and bytes that wait in the outbox, the ledger apart. */
  readonly queuedRecords: number
  readonly queuedBytes: number
  readonly oldestAt: number | undefined
  /** Seconds until the queue is empty at the rate measured; undefined until a rate is known. */
  readonly drainSeconds: number | undefined
  /** Since the start. */
  readonly sentRecords: number
  readonly rejectedRecords: number
  readonly logs: readonly LogStatus[]
}

export interface UplinkStatus {
  readonly links: readonly LinkStatus[]
  /** Logs of routes that no uplink serves any more; they are kept. */
  readonly detached: readonly {
    readonly log: string
    readonly to: string
    readonly records: number
    readonly stored: CommitLog
  }[]
}
