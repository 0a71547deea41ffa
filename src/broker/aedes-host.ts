/**
 * aedes as the control plane: CONNECT, SUBSCRIBE, UNSUBSCRIBE and DISCONNECT run in it, on our persistence; no
 * message ever passes it.
 *
 *   connection ──frames──► aedes ──► hooks below (who may, which filters)
 *        ▲                   │
 *        └── CONNACK, SUBACK ┴──► 'clientReady', 'subscribe', 'unsubscribe' ──► the connection that carries it
 *
 * Where aedes 1.2 would act on messages by itself it finds nothing to do: its emitter and `publish` are empty, its
 * outgoing and retained streams yield nothing, its heartbeat and will-clearing clocks are stopped. Three of its
 * habits are mended here: a client that closed while it was connecting is not registered any more (it would push
 * out the next with its id), a denied filter is not stored, and a will is published by the connection that owns it,
 * in one batch with its deletion (aedes publishes first and deletes later, by client id alone).
 */
import { Readable } from 'node:stream'
import { Aedes, type Client } from 'aedes'
import type { Qos } from '#store/record.ts'
import type { AedesStream } from './aedes-stream.ts'
import type { Connection } from './connection.ts'
import { connackCode, type Will } from './packet-check.ts'

/** What aedes asks of its persistence for control packets; `persistence.ts` has it and the rest of the suite. */
export interface ControlPersistence {
  setup(broker: unknown): Promise<void>
  subscriptionsByClient(client: { id: string }): Promise<{ topic: string; qos: Qos }[]>
  addSubscriptions(client: { id: string }, subscriptions: { topic: string; qos: Qos }[]): Promise<unknown>
  removeSubscriptions(client: { id: string }, filters: string[]): Promise<unknown>
}

/** Decides about one filter: the granted QoS, or undefined to refuse it (SUBACK 0x80). */
export type Grant = (connection: Connection, filter: string, qos: Qos) => Qos | undefined

export interface AedesHostOptions {
  readonly persistence: ControlPersistence
  readonly grant: Grant
  /** Stores a will for its connection; resolves once it is durable, then CONNACK goes out. */
  storeWill(connection: Connection, will: Will): Promise<void>
  /** The client is connected again: wills that it left in an earlier life are void. */
  returned(clientId: string): Promise<void>
}

/** The parts of aedes that are not in its types and that this file must reach. */
interface AedesInternals {
  _heartbeatInterval: NodeJS.Timeout
  _clearWillInterval: NodeJS.Timeout
  clients: Record<string, Client | undefined>
  registerClient(client: Client): void
  _finishRegisterClient(client: Client): void
  publish(packet: unknown, client: unknown, done?: unknown): void
}

interface StoredFilter {
  topic: string
  qos: number
}

/** MQTT's code for a refused filter [MQTT-3.9.3-2]; as a QoS it marks what must not be stored. */
const refusedQos = 0x80
const levelsMax = 100

export class AedesHost {
  readonly #options: AedesHostOptions
  #aedes: Aedes | undefined

  private constructor(options: AedesHostOptions) {
    this.#options = options
  }

  static async start(options: AedesHostOptions): Promise<AedesHost> {
    const host = new AedesHost(options)
    const aedes = await Aedes.createBroker({
      mq: silentEmitter(),
      persistence: host.#controlPlane(),
      // Both are kept by the connection; these only must not strike first.
      connectTimeout: 60_000,
      drainTimeout: 0,
      maxClientsIdLength: 65_535,
      maxTopicLevels: levelsMax,
      authenticate: (client, _username, _password, done) => {
        connectionOf(client).authenticate(accepted => {
          if (accepted) done(null, true)
          else done(Object.assign(new Error('refused'), { returnCode: connackCode.badCredentials }), false)
        })
      },
      // Called for wills only, and left without an answer: see above.
      authorizePublish: () => {},
      authorizeSubscribe: (client, subscription, done) => {
        const filter: StoredFilter = subscription
        const qos = options.grant(connectionOf(client), filter.topic, filter.qos as Qos)
        filter.qos = qos ?? refusedQos
        // Later, so that all filters of the packet are marked before aedes stores its whole list.
        queueMicrotask(() => done(null, qos === undefined ? null : subscription))
      },
    })
    host.#aedes = aedes
    host.#tame(aedes as unknown as AedesInternals)
    host.#listen(aedes)
    return host
  }

  /** Takes a connection whose CONNECT is about to be fed. */
  handle(stream: AedesStream<Connection>): void {
    this.#aedes?.handle(stream)
  }

  async close(): Promise<void> {
    const aedes = this.#aedes
    this.#aedes = undefined
    if (aedes !== undefined) await new Promise<void>(resolve => aedes.close(() => resolve()))
  }

  #tame(aedes: AedesInternals): void {
    clearInterval(aedes._heartbeatInterval)
    clearInterval(aedes._clearWillInterval)
    aedes.publish = (_packet, client, done) => {
      const callback = typeof client === 'function' ? client : done
      if (typeof callback === 'function') callback(null)
    }
    aedes.registerClient = client => {
      if (client.closed) return
      const other = aedes.clients[client.id]
      if (other === undefined) aedes._finishRegisterClient(client)
      else other.close(() => aedes._finishRegisterClient(client))
    }
  }

  #listen(aedes: Aedes): void {
    aedes.on('clientReady', client => connectionOf(client).ready())
    aedes.on('subscribe', (subscriptions, client) => {
      const granted = subscriptions.filter(({ qos }) => qos <= 2)
      if (client !== null)
        connectionOf(client).subscribed(granted.map(({ topic, qos }) => ({ filter: topic, qos: qos as Qos })))
    })
    aedes.on('unsubscribe', (filters, client) => {
      if (client !== null && !client.closed) connectionOf(client).unsubscribed(filters)
    })
    aedes.on('clientError', (client, error) => connectionOf(client).aedesFailed(error))
    aedes.on('connectionError', (client, error) => connectionOf(client).aedesFailed(error))
  }

  #controlPlane(): object {
    const { persistence, storeWill, returned } = this.#options
    const added = new WeakMap<object, Promise<unknown>>()
    return {
      setup: async (broker: unknown) => persistence.setup(broker),
      subscriptionsByClient: (client: Client) => persistence.subscriptionsByClient(client),
      // The session of a client that comes with clean session 1 was discarded before, in `claim`.
      cleanSubscriptions: async () => {},
      // aedes calls it with the packet's whole list for each granted filter of it.
      addSubscriptions: (client: Client, subscriptions: { topic: string; qos: Qos }[]) => {
        const known = added.get(subscriptions)
        if (known !== undefined) return known
        const writing = persistence.addSubscriptions(
          client,
          subscriptions.filter(({ qos }) => qos <= 2).map(({ topic, qos }) => ({ topic, qos })),
        )
        added.set(subscriptions, writing)
        return writing
      },
      removeSubscriptions: (client: Client, filters: string[]) =>
        persistence.removeSubscriptions(client, filters),
      putWill: async (client: Client, { topic, payload, qos, retain }: Will) => {
        const will = { topic, payload: Buffer.from(payload), qos, retain }
        // aedes goes on with a client that is gone: such a one was never accepted and leaves no will.
        if (!client.closed) await storeWill(connectionOf(client), will)
      },
      // At CONNECT, for what an earlier life left, aedes gives the client; at the end of a connection, when nothing
      // is left to do, only its id.
      delWill: async (client: Client | { id: string; conn?: undefined }) => {
        if (client.conn !== undefined) await returned(client.id)
      },
      outgoingStream: () => Readable.from([]),
      createRetainedStreamCombi: () => ({ pipe() {} }),
    }
  }
}

function connectionOf(client: Client): Connection {
  return (client.conn as AedesStream<Connection>).peer
}

/** aedes's message bus: nothing is emitted on it and nobody is called. */
function silentEmitter(): object {
  const answer = (done: unknown) => {
    if (typeof done === 'function') done()
  }
  return {
    current: 0,
    concurrency: 0,
    closed: false,
    on: (_topic: string, _listener: unknown, done: unknown) => answer(done),
    removeListener: (_topic: string, _listener: unknown, done: unknown) => answer(done),
    emit: (_message: unknown, done: unknown) => answer(done),
    close: (done: unknown) => answer(done),
  }
}
