/**
 * The config as all parts see it: defaults filled in, units normalised, files read, deeply frozen.
 *
 * `load-config.ts` makes it; nothing in it is optional by accident.
 */

export interface DeviceConfig {
  readonly device: string
  /** Absolute path of the data folder; it may not exist yet. */
  readonly data: string
  /** Absolute path of the folder of functions. */
  readonly functions: string
  readonly mqtt: MqttConfig
  readonly http: HttpConfig
  /** Certificate of the MQTT listener; undefined for plain TCP. */
  readonly tls: ListenerTls | undefined
  readonly uplinks: readonly UplinkConfig[]
  readonly routes: readonly RouteConfig[]
  readonly durability: readonly DurabilityConfig[]
  readonly limits: LimitsConfig
  readonly log: { readonly level: LogLevel }
  readonly users: readonly UserConfig[]
}

export interface MqttConfig {
  readonly host: string
  /** 0: a free one. */
  readonly port: number
  readonly maxPacketBytes: number
  /** Absolute paths of PEM files, known to be readable; with `caFile` clients must show a certificate. */
}

/** Absolute paths of PEM files. */
export interface ListenerTls {
  readonly certFile: string
  readonly keyFile: string
  /** Authorities: with them every client must show a certificate of theirs. */
  readonly caFile?: string
}

export interface HttpConfig {
  readonly host: string
  /** 0: a free one. */
  readonly port: number
  /** Host names by which the API may be called, besides localhost and addresses. */
  readonly hosts: readonly string[]
}

export interface UplinkConfig {
  readonly name: string
  readonly connector: 'http' | 'mqtt'
  readonly url: string
  /** A secret: never shown. */
  readonly token: string | undefined
  /** PEM texts. */
  readonly tls: { readonly ca?: string; readonly cert?: string; readonly key?: string }
  /** With connector mqtt. */
  readonly mqtt?: MqttUplinkConfig
}

export interface MqttUplinkConfig {
  readonly clientId: string
  readonly username: string | undefined
  /** A secret: never shown. */
  readonly password: string | undefined
  /** Topic of a record, with `{topic}` and `{device}`. */
  readonly topic: string
  readonly format: 'raw' | 'cloudevents'
  readonly downlink: readonly DownlinkConfig[]
}

export interface DownlinkConfig {
  /** Filter of topics at the cloud's broker. */
  readonly filter: string
  /** What goes before such a topic here. */
  readonly prefix: string
}

export interface RouteConfig {
  /** At most 55 characters: `outbox.NAME.PRIORITY` names its log. */
  readonly name: string
  readonly filter: string
  /** Name of an uplink. */
  readonly to: string
  /** 0 (last) to 9 (first). */
  readonly priority: number
  readonly ttlMs: number | undefined
  /** undefined: `limits.outbox`. */
  readonly maxBytes: number | undefined
  readonly overflow: 'block' | 'drop-oldest' | 'drop-newest' | 'keep-latest'
}

export interface DurabilityConfig {
  readonly filter: string
  readonly class: 'memory' | 'process' | 'power'
}

/** A share is worked out at the first start from the disk that is free then, and kept. */
export type OutboxBound = { readonly bytes: number } | { readonly diskShare: number }

export interface LimitsConfig {
  readonly inboxMaxBytes: number
  readonly sessionMaxBytes: number
  readonly sessionExpiryMs: number
  readonly outbox: OutboxBound
  readonly deadLettersMaxBytes: number
  readonly ledgerMaxBytes: number
  readonly freeDiskMinBytes: number
  readonly blockMs: number
  readonly willGraceMs: number
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

export interface UserConfig {
  readonly name: string
  /** A secret: never shown. */
  readonly password: string
}
