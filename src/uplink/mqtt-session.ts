/**
 * One MQTT connection, from CONNECT to its end, through MQTT.js. It never reconnects: the link does.
 *
 *   open ──CONNACK 0──► standing ──close, DISCONNECT, error, keep-alive──► lost(failure)
 *
 * MQTT.js keeps what is sent until it is acknowledged and would queue what is published while it is offline. Here
 * nothing is published to a client that is not connected, its timer for reconnecting is off, and each connection
 * has a client of its own: what it held dies with it, and the log sends again (D3).
 *
 * A message that arrives is not acknowledged by MQTT.js: `handleMessage` answers with an error, which makes it
 * send no PUBACK and go on reading. The PUBACK leaves when the owner calls `acknowledge` (D1), so that a message
 * which waits for room holds up neither the acknowledgements of what we sent nor the keep-alive.
 */
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { type IConnackPacket, type IPublishPacket, MqttClient } from 'mqtt'
import mqttPacket from 'mqtt-packet'
import { pems, type TlsOptions } from './http-client.ts'
import type { Publication } from './mqtt-publication.ts'
import {
  connectFailure,
  disconnectFailure,
  type Failure,
  isUnknownVersion,
  unknownRefusal,
} from './mqtt-reasons.ts'

export interface SessionOptions {
  readonly url: URL
  readonly version: 4 | 5
  readonly clientId: string
  readonly username: string | undefined
  readonly password: string | undefined
  readonly tls: TlsOptions | undefined
  /** Whether the broker keeps the session while we are away. */
  readonly persistent: boolean
  readonly connectTimeoutMs: number
  readonly signal: AbortSignal
  /** Takes a message; the callback acknowledges it, with an MQTT 5 reason when it is not taken. */
  readonly onMessage: (packet: IPublishPacket, acknowledge: (reason?: number) => void) => void
  /** Called once, when the connection is gone. */
  readonly onLost: (failure: Failure) => void
}

export type Opened =
  | { readonly type: 'open'; readonly session: MqttSession }
  | {
      readonly type: 'failed'
      readonly failure: Failure
      /** unknown: the broker says that it does not know this version. silent: it hung up without an answer. */
      readonly why: 'unknown-version' | 'silent' | 'other'
    }

/** What the broker said it takes. */
export interface BrokerLimits {
  readonly version: 4 | 5
  /** Records that may wait for their PUBACK. */
  readonly receiveMaximum: number
  readonly maximumPacketBytes: number
  readonly sessionPresent: boolean
}

/** Messages that the broker may have under way to us (MQTT 5). */
export const downlinkInflightMax = 64
const keepAliveS = 30
/** How long the broker keeps our session: as long as our own broker keeps one (limits.sessionExpiry). */
const sessionExpiryS = 7 * 86_400
/** What a broker of 3.1.1, which cannot say it, is taken to hold unacknowledged: mosquitto's default. */
const inflightOfOldBrokers = 20
const closeTimeoutMs = 1_000
/** TLS alerts about our certificate. */
const certificateAlert =
  /ALERT_(BAD_CERTIFICATE|CERTIFICATE|UNSUPPORTED_CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)/

export class MqttSession {
  readonly #client: MqttClient
  readonly #options: SessionOptions
  readonly limits: BrokerLimits
  #waiting = 0
  #failure: Failure | undefined

  private constructor(client: MqttClient, options: SessionOptions, connack: IConnackPacket) {
    this.#client = client
    this.#options = options
    this.limits = limitsOf(connack, options.version)
  }

  /** Connects; never rejects. */
  static open(options: SessionOptions): Promise<Opened> {
    return new Promise(resolve => {
      const client = new MqttClient(() => socketOf(options), clientOptions(options))
      let session: MqttSession | undefined
      let failure: Failure | undefined
      let why: 'unknown-version' | 'silent' | 'other' = 'silent'
      let held: () => void = () => {}
      const abort = () => close(client)
      const lose = (found: Failure) => {
        failure ??= found
      }
      client.handleMessage = (packet, done) => {
        const pass = () => {
          session?.message(packet)
          done(new Error('acknowledged later'))
        }
        // Messages may come in one read with the CONNACK, before MQTT.js tells of that.
        if (session === undefined) held = pass
        else pass()
      }
      client.on('connect', connack => {
        options.signal.removeEventListener('abort', abort)
        session = new MqttSession(client, options, connack)
        resolve({ type: 'open', session })
        held()
      })
      client.on('disconnect', ({ reasonCode = 0 }) =>
        lose(disconnectFailure(reasonCode, session === undefined ? 0 : session.#waiting)),
      )
      client.on('error', (error: Error & { code?: number | string }) => {
        const refused = typeof error.code === 'number' && session === undefined
        if (why !== 'unknown-version')
          why = refused && isUnknownVersion(Number(error.code)) ? 'unknown-version' : 'other'
        lose(refused ? connectFailure(Number(error.code)) : errorFailure(error))
        // What MQTT.js cannot parse does not end its connection. What it has parsed before is handled first.
        if (session !== undefined && error.code === undefined) setImmediate(() => close(client))
      })
      client.on('close', () => {
        options.signal.removeEventListener('abort', abort)
        const reason = options.signal.aborted ? 'the link was cut' : closedText(session)
        const found: Failure = failure ?? { type: 'retryable', reason }
        if (session === undefined) resolve({ type: 'failed', failure: found, why })
        else session.#lost(found)
      })
      options.signal.addEventListener('abort', abort, { once: true })
      if (options.signal.aborted) abort()
    })
  }

  /** Why it is gone, once it is. */
  get failure(): Failure | undefined {
    return this.#failure
  }

  /** Sends with QoS 1; the callback gets the reason of the PUBACK, and is not called when the connection goes first. */
  publish({ topic, payload, properties }: Publication, acknowledged: (reason: number) => void): void {
    this.#waiting += 1
    this.#client.publish(topic, payload, { qos: 1, properties }, error => {
      this.#waiting -= 1
      if (this.#failure !== undefined) return
      if (error === undefined || error === null) acknowledged(0)
      // An error without a reason code is that of a connection which goes.
      else if ('code' in error && typeof error.code === 'number') acknowledged(error.code)
    })
  }

  /** Subscribes with QoS 1; the reasons are those of the SUBACK, undefined when the connection went. */
  subscribe(filters: readonly string[]): Promise<readonly number[] | undefined> {
    // With MQTT 5 the broker sends us nothing of our own, and retained messages only for a new subscription.
    const options = { qos: 1 as const, nl: true, rap: true, rh: 1 }
    return new Promise(resolve => {
      this.#client.subscribe([...filters], options, (_, __, packet) => resolve(packet?.granted.map(Number)))
    })
  }

  unsubscribe(filters: readonly string[]): Promise<void> {
    return new Promise(resolve => this.#client.unsubscribe([...filters], () => resolve()))
  }

  /** For MQTT.js alone. */
  message(packet: IPublishPacket): void {
    const { messageId, qos } = packet
    this.#options.onMessage(packet, (reasonCode = 0) => {
      if (qos === 0 || messageId === undefined || this.#failure !== undefined) return
      const { version: protocolVersion } = this.limits
      mqttPacket.writeToStream({ cmd: 'puback', messageId, reasonCode }, this.#client.stream, {
        protocolVersion,
      })
    })
  }

  close(): void {
    close(this.#client)
  }

  #lost(failure: Failure): void {
    this.#failure = failure
    this.#options.onLost(failure)
  }
}

function clientOptions(options: SessionOptions) {
  const { version, clientId, username, password, persistent, connectTimeoutMs } = options
  const sessionExpiryInterval = persistent ? sessionExpiryS : 0
  return {
    protocolVersion: version,
    clientId,
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    clean: !persistent,
    keepalive: keepAliveS,
    connectTimeout: connectTimeoutMs,
    reconnectPeriod: 0,
    queueQoSZero: false,
    resubscribe: false,
    timerVariant: 'native' as const,
    // The cache is 65,536 buffers, 8 MB.
    writeCache: false,
    log: () => {},
    ...(version === 5 && {
      properties: { sessionExpiryInterval, receiveMaximum: downlinkInflightMax },
    }),
  }
}

function socketOf({ url, tls }: SessionOptions): Socket {
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  const secure = url.protocol === 'mqtts:'
  const port = Number(url.port) || (secure ? 8883 : 1883)
  const socket = secure
    ? connectTls({ host, port, ...(isIP(host) === 0 && { servername: host }), ...pems(tls) })
    : connectTcp({ host, port })
  return socket.setNoDelay(true)
}

function limitsOf(connack: IConnackPacket, version: 4 | 5): BrokerLimits {
  const { receiveMaximum = version === 5 ? 65_535 : inflightOfOldBrokers, maximumPacketSize } =
    connack.properties ?? {}
  return {
    version,
    receiveMaximum,
    maximumPacketBytes: maximumPacketSize ?? Number.POSITIVE_INFINITY,
    sessionPresent: connack.sessionPresent,
  }
}

/** With a DISCONNECT when nothing is under way, else as it is. */
function close(client: MqttClient): void {
  const isIdle = client.connected && Object.keys(client.outgoing).length === 0
  const destroy = setTimeout(() => client.stream.destroy(), closeTimeoutMs).unref()
  client.once('close', () => clearTimeout(destroy))
  client.end(!isIdle)
}

function closedText(session: MqttSession | undefined): string {
  return session === undefined
    ? 'the broker closed the connection before it answered'
    : 'the broker closed the connection'
}

function errorFailure(error: Error & { code?: number | string }): Failure {
  const code = typeof error.code === 'string' ? error.code : ''
  const inner = error instanceof AggregateError ? error.errors[0] : undefined
  const { message } = inner instanceof Error ? inner : error
  if (message === 'Invalid puback reason code') return unknownRefusal
  const reason = code === '' || message.includes(code) ? message : `${code}: ${message}`
  if (certificateAlert.test(code))
    return { type: 'refused', reason: `the client certificate is refused: ${code}` }
  return { type: 'retryable', reason }
}
