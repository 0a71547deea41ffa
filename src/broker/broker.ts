/**
 * The MQTT broker: listener, connections, aedes for the control plane, sessions and wills on the store.
 *
 *   listener ─► connection ─► packet-flow ─► admission ─► router ─► store       reading order of the files:
 *                   │              └► session (log) ◄──────┘  │                 frame-splitter, packet-check,
 *                   └► aedes-host                             │ onDeliver       packet-reader, packet-writer,
 *                                                             ▼                 outgoing, connection, packet-flow,
 *                        clients ◄─ live-client ◄─ live-sessions                admission, live-sessions,
 *                                                                               aedes-host, session-store, wills
 *
 * Keeps D1 (admission), D6 (bounds named in each file) and D7. One connection has a client id; the next one with it
 * takes over [MQTT-3.1.4-2].
 */
import { FescueError } from '#base/errors.ts'
import { isLoopback } from '#base/loopback.ts'
import type { Counter, Metrics } from '#base/metrics.ts'
import type { Qos } from '#store/record.ts'
import { AedesHost } from './aedes-host.ts'
import { Authentication } from './authentication.ts'
import {
  type Broker,
  type BrokerChange,
  type BrokerLimits,
  type BrokerOptions,
  type ClientInfo,
  defaultBrokerLimits,
} from './broker-options.ts'
import { Connection, type ConnectionDeps, type ConnectionEnd } from './connection.ts'
import { FullPersistence } from './full-persistence.ts'
import { checkListen, Listener, readTls } from './listener.ts'
import { LiveClient } from './live-client.ts'
import { LiveSessions } from './live-sessions.ts'
import { LogBudget } from './log-budget.ts'
import { TurnWriter } from './outgoing.ts'
import { type Connect, packetType, type Will } from './packet-check.ts'
import { TopicReader } from './packet-text.ts'
import { deliverRetained } from './retained-delivery.ts'
import { type Session, type SubscriptionEntry, subscriptionsMax } from './session.ts'
import { openSessions, type SessionStore } from './session-store.ts'
import { Wills } from './wills.ts'

/** Opens the listener last. Errors: FESCUE_LISTEN_NO_USERS, FESCUE_PORT_TAKEN, FESCUE_CONFIG_UNREADABLE. */
export async function startBroker(options: BrokerOptions): Promise<Broker> {
  checkListen(options.host, options.users.size)
  await using starting = new AsyncDisposableStack()
  const { store, router, clock, logger, sessionLimits, willGraceMs } = options
  const sessions = starting.use(
    await openSessions({ store, router, clock, logger, ...(sessionLimits && { limits: sessionLimits }) }),
  )
  const wills = starting.use(
    await Wills.open({
      store,
      router,
      clock,
      logger,
      ...(willGraceMs !== undefined && { graceMs: willGraceMs }),
    }),
  )
  const broker = new MqttBroker(options, sessions, wills)
  await broker.open()
  starting.move()
  return broker
}

const userCheckMs = 5_000

class MqttBroker implements Broker {
  readonly name = 'broker'
  readonly host: string
  readonly sessions: SessionStore
  readonly #options: BrokerOptions
  #limits: BrokerLimits
  readonly #wills: Wills
  readonly #live: LiveSessions
  readonly #authentication: Authentication
  readonly #logs: LogBudget
  readonly #connections = new Set<Connection>()
  /** Who has which client id, from the moment that it may. */
  readonly #owners = new Map<string, Connection>()
  readonly #deps: ConnectionDeps
  readonly #ended = Promise.withResolvers<void>()
  readonly #dropped: Counter
  #aedes: AedesHost | undefined
  #listener: Listener | undefined
  #cancelUserCheck = (): void => {}
  #accepted = 0
  #stopping = false

  constructor(options: BrokerOptions, sessions: SessionStore, wills: Wills) {
    this.#options = options
    this.#limits = { ...defaultBrokerLimits, ...options.limits }
    this.host = options.host
    this.sessions = sessions
    this.#wills = wills
    this.#logs = new LogBudget(options.clock, options.logger)
    this.#authentication = new Authentication(options.users, options.clock, isLoopback(options.host))
    const out = counters(options.metrics, 'out')
    this.#dropped = options.metrics.counter(
      'fescue_dropped_messages_total',
      'QoS 0 messages not sent to a client that reads too slowly',
    )
    this.#live = new LiveSessions(out)
    this.#deps = this.#connectionDeps(out)
    options.metrics.collect('fescue_clients', 'Connected MQTT clients', [], () => [
      { labels: {}, value: this.#accepted },
    ])
  }

  async open(): Promise<void> {
    const { router, store, clock, tls, host, port } = this.#options
    const { sessions } = this
    const { connectionsMax, unauthenticatedMax, unauthenticatedPerAddressMax } = this.#limits
    this.#aedes = await AedesHost.start({
      persistence: new FullPersistence({
        store,
        retained: router.retained,
        sessions,
        wills: this.#wills,
        clock,
      }),
      grant: (connection, filter, qos) => this.#grant(connection, filter, qos),
      storeWill: (connection, will) => this.#storeWill(connection, will),
      returned: clientId => this.#wills.returned(clientId),
    })
    router.onDeliver(message => this.#live.deliver(message))
    this.#listener = await Listener.open({
      host,
      port,
      ...(tls && { tls }),
      connectionsMax,
      unauthenticatedMax,
      unauthenticatedPerAddressMax,
      accept: socket => this.#connections.add(new Connection(socket, this.#deps)),
      turnedAway: (address, bound) => this.#logs.warn({ address, bound }, 'connection turned away'),
    })
    this.#checkUsersLater()
  }

  get port(): number {
    return this.#listener?.port ?? 0
  }

  get clients(): Broker['clients'] {
    return { count: this.#accepted, list: () => this.#clientInfos() }
  }

  disconnectUser(username: string): void {
    for (const connection of this.#connections)
      if (connection.client?.username === username)
        connection.close(new FescueError('FESCUE_NOT_AUTHORIZED', `user "${username}" was revoked`))
  }

  async prepare({ limits, sessionLimits, tls }: BrokerChange): Promise<() => void> {
    const certificate = tls === undefined ? undefined : await readTls(tls)
    return () => {
      this.#limits = { ...this.#limits, ...limits }
      this.sessions.setLimits(sessionLimits)
      if (certificate !== undefined) this.#listener?.renew(certificate)
    }
  }

  async run(signal: AbortSignal): Promise<void> {
    const end = () => this.#ended.resolve()
    if (signal.aborted) end()
    signal.addEventListener('abort', end, { once: true })
    await this.#ended.promise
  }

  /** Accepts and reads no more; acknowledges what was taken, then closes, at the latest after `graceMs`. */
  async drain(graceMs: number): Promise<void> {
    this.#stopping = true
    this.#listener?.close()
    this.#cancelUserCheck()
    const closing = [...this.#connections].map(
      connection =>
        new Promise<void>(resolve => {
          connection.socket.once('close', () => resolve())
          connection.pause()
          connection.finish()
        }),
    )
    const grace = Promise.withResolvers<void>()
    const cancel = this.#options.clock.after(graceMs, grace.resolve)
    await Promise.race([Promise.all(closing), grace.promise])
    cancel()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping = true
    this.#listener?.close()
    this.#cancelUserCheck()
    for (const connection of this.#connections) {
      connection.close()
      connection.socket.destroy()
    }
    const aedes = this.#aedes
    this.#aedes = undefined
    await aedes?.close()
    await this.#wills[Symbol.asyncDispose]()
    await this.sessions[Symbol.asyncDispose]()
    this.#ended.resolve()
  }

  #connectionDeps(out: Counters): ConnectionDeps {
    const { store, router, clock, logger, metrics } = this.#options
    // Read when they are needed: `prepare` may have changed them.
    const limits = () => this.#limits
    const received = counters(metrics, 'in')
    const topics = new TopicReader()
    return {
      clock,
      logger,
      turn: new TurnWriter(),
      flow: {
        store,
        router,
        clock,
        topics,
        received,
        get blockMs() {
          return limits().blockMs
        },
      },
      get maxPacketBytes() {
        return limits().maxPacketBytes
      },
      connectTimeoutMs: this.#limits.connectTimeoutMs,
      get acceptTimeoutMs() {
        return limits().connectTimeoutMs + limits().blockMs
      },
      handle: stream => this.#aedes?.handle(stream),
      claim: (connection, connect) => this.#claim(connection, connect),
      join: (connection, clientId, session) => this.#join(connection, clientId, session),
      subscribed: (connection, entries) => this.#subscribed(connection, entries),
      unsubscribed: (connection, filters) => {
        const live = connection.client?.live
        if (live !== undefined) for (const filter of filters) this.#live.unsubscribe(live, filter)
      },
      sent: first => {
        if (first >> 4 === packetType.publish) out[((first >> 1) & 3) as Qos]?.add()
      },
      refused: (fields, reason) => this.#logs.warn(fields, reason),
      closed: (connection, end) => this.#closed(connection, end),
    }
  }

  async #claim(connection: Connection, connect: Connect) {
    const { clientId, clean, username, password } = connect
    const who = await this.#authentication.check(connection.address, username, password)
    if (who === undefined || connection.isClosed || this.#stopping) return undefined
    this.#listener?.authenticated(connection.socket)
    const other = this.#owners.get(clientId)
    this.#owners.set(clientId, connection)
    other?.close(new FescueError('FESCUE_CONFLICT', 'another connection came with the same client id'))
    const user = who.kind === 'user' ? who.username : undefined
    if (clean) {
      await this.sessions.discard(clientId)
      return { session: undefined, present: false, username: user }
    }
    const { session, present } = await this.sessions.open(clientId)
    return { session, present, username: user }
  }

  #join(connection: Connection, clientId: string, session: Session | undefined): LiveClient {
    const live = new LiveClient({
      id: clientId,
      persistent: session !== undefined,
      outgoing: connection.outgoing,
      clock: this.#options.clock,
      drainTimeoutMs: this.#limits.drainTimeoutMs,
      dropped: this.#dropped,
      tooSlow: reason => connection.tooSlow(reason),
    })
    for (const { filter, qos } of session?.subscriptions ?? []) this.#live.subscribe(live, filter, qos)
    this.#accepted += 1
    return live
  }

  /** The QoS that a filter gets, or undefined to refuse it. */
  #grant(connection: Connection, filter: string, qos: Qos): Qos | undefined {
    const live = connection.client?.live
    if (live === undefined) return undefined
    if (filter.startsWith('$share/')) return this.#denied(connection, filter, 'shared subscriptions')
    if (live.subscriptions.has(filter)) return qos
    if (live.subscriptions.size + connection.granting >= subscriptionsMax)
      return this.#denied(connection, filter, `more than ${subscriptionsMax} subscriptions of one client`)
    if (this.#live.size + connection.granting >= this.#limits.subscriptionsTotalMax)
      return this.#denied(connection, filter, `more than ${this.#limits.subscriptionsTotalMax} subscriptions`)
    connection.granting += 1
    return qos
  }

  #denied(connection: Connection, filter: string, what: string): undefined {
    this.#logs.warn({ client: connection.clientId, filter }, `subscription refused: ${what} are not taken`)
  }

  #subscribed(connection: Connection, entries: readonly SubscriptionEntry[]): void {
    const { client } = connection
    if (client === undefined) return
    for (const { filter, qos } of entries) this.#live.subscribe(client.live, filter, qos)
    const { store, router, logger } = this.#options
    deliverRetained({ store, live: this.#live, retained: router.retained }, connection, entries).catch(
      error => logger.error({ err: error, client: client.clientId }, 'retained messages could not be read'),
    )
  }

  async #storeWill(connection: Connection, will: Will): Promise<void> {
    const { clientId, username } = connection
    if (clientId === undefined) return
    const owner = username === undefined ? { clientId } : { clientId, username }
    const handle = await this.#wills.store(owner, will)
    if (!connection.isClosed) connection.will = handle
    else if (!this.#stopping) await this.#wills.publish(handle)
  }

  #closed(connection: Connection, end: ConnectionEnd): void {
    this.#connections.delete(connection)
    if (end.clientId !== undefined && this.#owners.get(end.clientId) === connection)
      this.#owners.delete(end.clientId)
    if (end.client !== undefined) {
      this.#accepted -= 1
      this.#live.leave(end.client.live)
    }
    const { will } = connection
    if (will === undefined) return
    // A stop of the daemon is not the loss of a client: its will waits for the next start, and for its return.
    if (end.polite) this.#wills.forget(will).catch(() => {})
    else if (!this.#stopping) void this.#wills.publish(will)
  }

  *#clientInfos(): Generator<ClientInfo> {
    for (const { client, address, backlogBytes } of this.#connections) {
      if (client === undefined) continue
      const { clientId, username, session, connectedAt, live } = client
      yield {
        id: clientId,
        address,
        username,
        clean: session === undefined,
        connectedAt,
        subscriptions: live.subscriptions.size,
        backlogBytes,
      }
    }
  }

  /** Connections outlive the check at CONNECT; a revoked user's are ended within `userCheckMs`. */
  #checkUsersLater(): void {
    this.#cancelUserCheck = this.#options.clock.after(userCheckMs, () => {
      this.checkUsers().then(
        () => this.#stopping || this.#checkUsersLater(),
        () => this.#stopping || this.#checkUsersLater(),
      )
    })
  }

  async checkUsers(): Promise<void> {
    const { users } = this.#options
    const names = new Set<string | undefined>()
    for (const { client } of this.#connections) if (client !== undefined) names.add(client.username)
    for (const name of names) if (name !== undefined && !(await users.has(name))) this.disconnectUser(name)
    if (!names.has(undefined)) return
    // Asks for the sake of looking: the first user may have been added since.
    await users.has('')
    if (users.size === 0) return
    for (const connection of this.#connections)
      if (connection.client !== undefined && connection.client.username === undefined)
        connection.close(
          new FescueError('FESCUE_NOT_AUTHORIZED', 'there are users now: every client must be one'),
        )
  }
}

type Counters = readonly [Counter, Counter, Counter]

function counters(metrics: Metrics, direction: 'in' | 'out'): Counters {
  const counter = (qos: string) =>
    metrics.counter('fescue_messages_total', 'MQTT messages admitted (in) and sent (out)', { direction, qos })
  return [counter('0'), counter('1'), counter('2')]
}
