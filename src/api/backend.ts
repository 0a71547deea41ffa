/**
 * What the API needs of the daemon. The daemon implements it by handing each call to the part that knows.
 *
 *   request ─► api (guard, route, JSON) ─► Backend ─► daemon ─► broker · router · invoker · uplink · store
 *
 * Calls fail with a FescueError whose code gives the HTTP status; what they return is sent as JSON as it is.
 */
import type { LiveEvent } from '#base/live-event.ts'
import type { ErrorDocument } from '#sandbox/sandbox.ts'

export interface Backend {
  status(): Promise<Status>
  /** Cheap and without waiting for anything: that it answers is the message. */
  health(): Health
  ready(): readonly ReadyCheck[]
  functions(): Promise<readonly FunctionInfo[]>
  /** Errors: FESCUE_NOT_FOUND. */
  function(name: string): Promise<FunctionInfo>
  /**
   * Runs a function with one event and commits its effects; resolves after the commit.
   * Errors: FESCUE_NOT_FOUND, FESCUE_FUNCTION_UNAVAILABLE, FESCUE_STORE_FULL, FESCUE_STOPPING.
   */
  invoke(name: string, payload: Buffer, options: { readonly topic: string }): Promise<InvokeOutcome>
  /** Deletes the inbox and state of a detached function. Errors: FESCUE_NOT_FOUND, FESCUE_CONFLICT while it runs. */
  purge(name: string): Promise<{ readonly records: number }>
  /** Newest first, of all functions and routes or one. Errors: FESCUE_NOT_FOUND. */
  deadLetters(query: DeadLetterQuery): Promise<readonly DeadLetter[]>
  retryDeadLetters(selection: DeadLetterSelection): Promise<{ readonly count: number }>
  dropDeadLetters(selection: DeadLetterSelection): Promise<{ readonly count: number }>
  buffer(): Promise<Buffered>
  devices(): Promise<readonly DeviceInfo[]>
  /** Errors: FESCUE_CONFLICT, FESCUE_NAME_INVALID. */
  addDevice(name: string): Promise<{ readonly name: string; readonly password: string }>
  /** Closes its connections too. Errors: FESCUE_NOT_FOUND. */
  revokeDevice(name: string): Promise<void>
  /** Resolves once the message is committed as its QoS promises (D1). Errors: FESCUE_STORE_FULL. */
  publish(message: PublishInput): Promise<void>
  /** Calls with each message published from now on that the filter matches. Returns how to end it. */
  messages(filter: string, listener: (message: LiveMessage) => void): () => void
  events(listener: (event: LiveEvent) => void): () => void
  /** Cuts or restores the link to one uplink or to all. Errors: FESCUE_NOT_FOUND. */
  setLink(online: boolean, uplink?: string): Promise<void>
  /** Recent lines of daemon and functions, oldest first. */
  logLines(query: LogQuery): readonly LogEntry[]
  /** Calls with the lines since `after`, if given, then with each new one. Returns how to end it. */
  followLogLines(query: LogQuery, listener: (entry: LogEntry) => void): () => void
  /** The values that count, secrets hidden. */
  config(): readonly ConfigValue[]
  /**
   * Reads file, environment and flags again and applies what changed, all of it or nothing.
   * Errors: FESCUE_CONFIG_INVALID, FESCUE_CONFIG_UNREADABLE, FESCUE_LISTEN_NO_USERS.
   */
  reloadConfig(): Promise<ReloadOutcome>
}

export interface LogQuery {
  /** Lines at most, the newest. */
  readonly limit: number
  readonly function?: string
  /** Least level. */
  readonly level?: LogEntry['level']
  /** Milliseconds since the epoch. */
  readonly since?: number
  /** Only lines with a greater `seq`. */
  readonly after?: number
}

/** A line of the log of the daemon, or of what a function wrote to its console. */
export interface LogEntry {
  /** Counts up since the start of the daemon. */
  readonly seq: number
  /** Milliseconds since the epoch. */
  readonly time: number
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  /** `broker`, `invoker` … */
  readonly part?: string
  readonly function?: string
  readonly invocationId?: string
  readonly message: string
  readonly fields?: Readonly<Record<string, unknown>>
}

export interface ConfigValue {
  /** `mqtt.port`, `routes[0].filter`. */
  readonly key: string
  readonly value: unknown
  /** `where`: `file:line:column`, the variable or the flag; empty for a default. */
  readonly origin: {
    readonly kind: 'default' | 'file' | 'environment' | 'flag'
    readonly where: string
  }
}

/**
 * `applied`: the running config is the one that was read. `restart`: a changed key needs a restart, so nothing was
 * applied.
 */
export interface ReloadOutcome {
  readonly outcome: 'applied' | 'unchanged' | 'restart'
  readonly changes: readonly {
    readonly key: string
    readonly effect: 'live' | 'next-start' | 'restart'
    readonly where: string
    readonly detail?: string
  }[]
}

export interface Status {
  readonly device: string
  readonly version: string
  readonly node: string
  readonly pid: number
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  readonly epoch: string
  readonly state: Health['state']
  /** Why it is degraded, or what was done about a damaged database. */
  readonly message?: string
  readonly mqtt: {
    readonly host: string
    readonly port: number
    readonly clients: number
    readonly sessions: number
  }
  readonly http: { readonly host: string; readonly port: number }
  readonly functions: { readonly total: number; readonly failed: number }
  readonly uplinks: readonly UplinkInfo[]
  /** Messages published since the start, by durability class: the share that is not durable is seen. */
  readonly traffic: {
    readonly published: number
    readonly byClass: Readonly<Record<'memory' | 'process' | 'power', number>>
  }
  readonly store: {
    readonly batches: number
    readonly syncs: number
    readonly bytesWritten: number
    /** Records lost by reason. */
    readonly lost: Readonly<Record<string, number>>
  }
  /** Resident memory of the daemon. */
  readonly memoryBytes: number
}

export interface Health {
  readonly state: 'ok' | 'degraded'
  readonly message?: string
}

export interface ReadyCheck {
  /** `broker`, `store`, `functions`, `uplink.NAME` … */
  readonly id: string
  readonly ok: boolean
  readonly message?: string
  /** A check that counts only with `?strict=1`, as the link to the cloud does. */
  readonly optional?: boolean
}

export interface FunctionInfo {
  readonly name: string
  readonly state: 'ready' | 'running' | 'retrying' | 'disabled' | 'detached' | 'failed'
  /** Why it is disabled, detached or failed. */
  readonly reason?: string
  readonly description: string
  /** SHA-256 of the current good revision, hex. */
  readonly revision?: string
  readonly triggers: readonly { readonly topic?: string; readonly schedule?: string }[]
  readonly inbox: { readonly records: number; readonly bytes: number; readonly oldestAt?: number }
  readonly deadLetters: number
  /** Since the start of the daemon. */
  readonly invocations: { readonly ok: number; readonly error: number; readonly timeout: number }
  readonly lastError?: string
}

/** How an invocation by request ended. A failed one is not tried again: the caller knows. */
export type InvokeOutcome =
  | {
      readonly kind: 'ok'
      readonly invocationId: string
      /** JSON text of what the handler returned. */
      readonly value: string
      readonly durationMs: number
      readonly published: number
    }
  | {
      readonly kind: 'failed' | 'timeout'
      readonly invocationId: string
      readonly error: ErrorDocument
      readonly durationMs: number
    }

/** A message that a function could not take, or a record that a receiver would not. */
export interface DeadLetter {
  readonly function?: string
  /** `ROUTE.PRIORITY`: a receiver refused it. */
  readonly route?: string
  readonly offset: number
  /** Milliseconds since the epoch when the attempts were spent. */
  readonly time: number
  readonly topic: string
  /** The payload when it is UTF-8 text, else `payloadBase64`. */
  readonly payload?: string
  readonly payloadBase64?: string
  readonly attempts: number
  readonly revision?: string
  readonly error: ErrorDocument
}

export interface DeadLetterQuery {
  /** At most one of the two. */
  readonly function?: string
  readonly route?: string
  readonly limit: number
}

/** Whose: a function's or a route's. */
export interface DeadLetterSelection {
  readonly function?: string
  readonly route?: string
  /** All of it when absent. */
  readonly offsets?: readonly number[]
}

export interface Buffered {
  readonly uplinks: readonly UplinkInfo[]
  /** What leaves, by route; those of routes that are gone too, until they are empty. */
  readonly routes: readonly RouteInfo[]
  readonly logs: readonly LogInfo[]
  readonly ledger: LedgerInfo
}

export interface RouteInfo extends LogInfo {
  /** Absent for a log whose route is gone. */
  readonly route?: string
  readonly filter?: string
  readonly priority: number
  readonly uplink: string
  /** Since the log was made: records appended, and the offset up to which the receiver acknowledged. */
  readonly appended: number
  readonly acknowledged: number
  /** Acknowledged a second, over the last minute. */
  readonly perSecond: number
  /** Estimate from that rate. */
  readonly drainMs?: number
  /** Records that the receiver would not take: `fescue dead-letters list`. */
  readonly refused: number
}

/** The loss ledger: what was lost, and why. */
export interface LedgerInfo {
  /** Entries kept. */
  readonly entries: number
  /** Records lost since the start, by reason. */
  readonly lost: Readonly<Record<string, number>>
}

export interface LogInfo {
  readonly log: string
  readonly records: number
  readonly bytes: number
  readonly maxBytes: number
  readonly overflow: string
  /** Milliseconds since the epoch. */
  readonly oldestAt?: number
}

export interface UplinkInfo {
  readonly name: string
  readonly state: 'connected' | 'connecting' | 'offline' | 'refused'
  readonly reason?: string
  readonly lastAckAt?: number
  /** Records and bytes waiting in its outbox logs. */
  readonly records: number
  readonly bytes: number
  readonly oldestAt?: number
  /** Estimate from the last minute's rate. */
  readonly drainMs?: number
}

export interface DeviceInfo {
  readonly name: string
  /** ISO 8601. */
  readonly createdAt: string
}

export interface PublishInput {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
}

export interface LiveMessage extends PublishInput {
  readonly time: number
  /** As in a record: `mqtt:CLIENT`, `function:NAME`, `http` … */
  readonly origin: string
}
