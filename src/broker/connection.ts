/**
 * One client's socket, from accept to close.
 *
 *   socket ─► frame splitter ─┬─ CONNECT ─────► aedes (a stream that carries control packets only)
 *                             └─ all that follows ─► packet flow ─┬─► admission, session, live client
 *                                                                 └─► aedes
 *   socket ◄─ outgoing ◄── acks · live messages · session's log · what aedes writes
 *
 *   silent ──CONNECT──► connecting ──CONNACK 0──► ready ──► closed        (and from anywhere to closed)
 *
 * aedes sees a client only once its CONNECT is well formed, so a silent socket costs little. Keep-alive and the
 * time to CONNECT are kept here, where every packet is seen.
 */
import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import type { Clock } from '#base/clock.ts'
import { asFescueError, FescueError } from '#base/errors.ts'
import type { Logger } from '#base/logger.ts'
import { type AedesPeer, AedesStream } from './aedes-stream.ts'
import { CleanInbound } from './clean-inbound.ts'
import { encodeConnack, encodeConnect } from './connect-writer.ts'
import { type FrameSink, FrameSplitter } from './frame-splitter.ts'
import { type LiveClient, liveBacklogHardMaxBytes } from './live-client.ts'
import { Outgoing, type TurnWriter } from './outgoing.ts'
import { type Connect, checkHeader, connackCode, packetType, readConnect } from './packet-check.ts'
import { type FlowPeer, PacketFlow, type PacketFlowDeps } from './packet-flow.ts'
import { malformed } from './packet-text.ts'
import type { Session, SessionLink, SubscriptionEntry, WillHandle } from './session.ts'

/** Largest packet of a client that is not accepted yet. */
export const connectMaxBytes = 16 * 1024
/** Time that a closing socket has to take its last bytes. */
const lingerMs = 1_000

/** A client that may connect: with its session, or undefined for a clean one. */
export interface Claim {
  readonly session: Session | undefined
  readonly present: boolean
  readonly username: string | undefined
}

/** What a connection asks of the broker. */
export interface ConnectionDeps {
  readonly clock: Clock
  readonly logger: Logger
  readonly turn: TurnWriter
  readonly flow: PacketFlowDeps
  readonly maxPacketBytes: number
  readonly connectTimeoutMs: number
  /** Time from CONNECT to CONNACK. */
  readonly acceptTimeoutMs: number
  /** Gives the stream to aedes. */
  handle(stream: AedesStream<Connection>): void
  /** Authenticates, takes over the client id and opens the session; undefined refuses. */
  claim(connection: Connection, connect: Connect): Promise<Claim | undefined>
  /** The client is accepted and can be delivered to from now on. */
  join(connection: Connection, clientId: string, session: Session | undefined): LiveClient
  subscribed(connection: Connection, entries: readonly SubscriptionEntry[]): void
  unsubscribed(connection: Connection, filters: readonly string[]): void
  /** A PUBLISH was sent out of a session's log. */
  sent(firstByte: number): void
  /** A connection is ended for a reason that its owner should know; lines are bounded. */
  refused(fields: object, reason: string): void
  closed(connection: Connection, end: ConnectionEnd): void
}

export interface ConnectionEnd {
  readonly clientId: string | undefined
  /** Set when the connection had been accepted. */
  readonly client: ReadyClient | undefined
  /** DISCONNECT came: the will goes unpublished [MQTT-3.14.4-3]. */
  readonly polite: boolean
}

export interface ReadyClient {
  readonly clientId: string
  readonly username: string | undefined
  readonly session: Session | undefined
  readonly live: LiveClient
  readonly connectedAt: number
}

interface Connecting {
  readonly kind: 'connecting'
  readonly stream: AedesStream<Connection>
  readonly connect: Connect
  claim?: Claim
}

type State =
  | { readonly kind: 'silent' }
  | Connecting
  | { readonly kind: 'ready'; readonly stream: AedesStream<Connection>; readonly client: ReadyClient }
  | { readonly kind: 'closed' }

export class Connection implements AedesPeer, FrameSink, FlowPeer, SessionLink {
  readonly address: string
  readonly outgoing: Outgoing
  readonly socket: Socket
  /** What is published when this connection ends without DISCONNECT. */
  will: WillHandle | undefined
  /** New filters of the SUBSCRIBE that aedes is working on. */
  granting = 0
  readonly #deps: ConnectionDeps
  readonly #splitter: FrameSplitter
  readonly #flow: PacketFlow
  #state: State = { kind: 'silent' }
  #level: 3 | 4 = 4
  /** CONNACK as it comes from aedes, until it is whole. */
  #connack: number[] = []
  #disconnecting = false
  #lastReadAt: number
  #cancelTimer: () => void

  constructor(socket: Socket, deps: ConnectionDeps) {
    this.socket = socket
    this.#deps = deps
    this.address = socket.remoteAddress ?? 'unknown'
    this.outgoing = new Outgoing(socket, deps.turn)
    this.#splitter = new FrameSplitter(this, connectMaxBytes)
    this.#flow = new PacketFlow(deps.flow, this)
    this.#lastReadAt = deps.clock.monotonic()
    this.#cancelTimer = deps.clock.after(deps.connectTimeoutMs, () =>
      this.close(malformed(`no CONNECT within ${deps.connectTimeoutMs} ms`)),
    )
    socket.on('data', this.#onData)
    socket.on('end', () => this.finish())
    socket.on('error', () => {})
    socket.on('close', () => this.close())
  }

  get client(): ReadyClient | undefined {
    return this.#state.kind === 'ready' ? this.#state.client : undefined
  }

  /** The accepted or still connecting client's id. */
  get clientId(): string | undefined {
    if (this.#state.kind === 'ready') return this.#state.client.clientId
    return this.#state.kind === 'connecting' ? this.#state.connect.clientId : undefined
  }

  /** The user that the client authenticated as. */
  get username(): string | undefined {
    if (this.#state.kind === 'ready') return this.#state.client.username
    return this.#state.kind === 'connecting' ? this.#state.claim?.username : undefined
  }

  get isClosed(): boolean {
    return this.#state.kind === 'closed'
  }

  get level(): 3 | 4 {
    return this.#level
  }

  // ── packets in ──────────────────────────────────────────────────────────────────────────────────────────

  readonly #onData = (chunk: Buffer): void => {
    this.#lastReadAt = this.#deps.clock.monotonic()
    try {
      if (this.#state.kind === 'silent' && this.#splitter.isEmpty) checkFirst(chunk[0] ?? 0)
      this.#splitter.push(chunk)
      this.#flow.readEnded()
      if (this.outgoing.backlogBytes > liveBacklogHardMaxBytes)
        this.tooSlow(`${liveBacklogHardMaxBytes} bytes of answers not read`)
    } catch (error) {
      this.close(asFescueError(error))
    }
  }

  frame(buffer: Buffer, start: number, body: number, end: number): boolean {
    if (this.#disconnecting || this.#state.kind === 'closed') return false
    if (this.#state.kind === 'silent') this.#connect(buffer, start, body, end)
    else this.#flow.take(buffer, start, body, end)
    return true
  }

  #connect(buffer: Buffer, start: number, body: number, end: number): void {
    checkHeader(buffer[start] ?? 0, end - body, 4)
    const outcome = readConnect(buffer, body, end)
    if (outcome.kind === 'refusal') {
      this.outgoing.write(encodeConnack(outcome.returnCode))
      this.close(malformed(outcome.reason))
      return
    }
    const connect =
      outcome.connect.clientId === ''
        ? { ...outcome.connect, clientId: `auto-${randomBytes(8).toString('hex')}` }
        : outcome.connect
    this.#level = connect.level
    const stream = new AedesStream<Connection>(this)
    this.#state = { kind: 'connecting', stream, connect }
    this.#cancelTimer()
    this.#cancelTimer = this.#deps.clock.after(this.#deps.acceptTimeoutMs, () =>
      this.#unavailable(new FescueError('FESCUE_STORE_FAILED', 'the session could not be opened in time')),
    )
    this.#deps.handle(stream)
    stream.feed(encodeConnect(connect))
  }

  // ── the control plane ───────────────────────────────────────────────────────────────────────────────────

  /** aedes's question whether the client may connect. */
  authenticate(done: (accepted: boolean) => void): void {
    const state = this.#state
    if (state.kind !== 'connecting') return
    this.#deps.claim(this, state.connect).then(
      claim => {
        if (this.#state !== state) return
        if (claim !== undefined) state.claim = claim
        else this.#log('refused', 'wrong user name or password')
        done(claim !== undefined)
      },
      error => this.#unavailable(asFescueError(error)),
    )
  }

  /** The client may connect, but not now. */
  #unavailable(error: FescueError): void {
    if (this.#state.kind !== 'connecting') return
    this.outgoing.write(encodeConnack(connackCode.unavailable))
    this.close(error)
  }

  fromAedes(bytes: Buffer): void {
    if (this.#state.kind === 'ready') this.outgoing.write(bytes)
    else if (this.#state.kind === 'connecting') this.#patchConnack(this.#state, bytes)
  }

  /** aedes calls a session without subscriptions new; the client is told the truth [MQTT-3.2.2-2]. */
  #patchConnack(state: Connecting, bytes: Buffer): void {
    this.#connack.push(...bytes)
    const [, , , returnCode] = this.#connack
    if (returnCode === undefined) return
    const present = returnCode === 0 && state.claim?.present === true
    this.#connack = []
    this.outgoing.write(encodeConnack(returnCode, present))
  }

  /** aedes has sent CONNACK 0. */
  ready(): void {
    const state = this.#state
    if (state.kind !== 'connecting' || state.claim === undefined) return
    const { stream, connect, claim } = state
    const { clientId, keepAliveSeconds } = connect
    const { session, username } = claim
    this.#cancelTimer()
    this.#splitter.maxPacketBytes = this.#deps.maxPacketBytes
    const connectedAt = this.#deps.clock.now()
    const live = this.#deps.join(this, clientId, session)
    this.#state = { kind: 'ready', stream, client: { clientId, username, session, live, connectedAt } }
    this.#cancelTimer = this.#keepAlive(keepAliveSeconds)
    session?.attach(this)
    this.#flow.open({ clientId, live, session, inbound: session?.inbound ?? new CleanInbound() })
  }
  subscribed(entries: readonly SubscriptionEntry[]): void {
    this.granting = 0
    this.#deps.subscribed(this, entries)
    this.#flow.controlDone()
  }

  unsubscribed(filters: readonly string[]): void {
    this.#deps.unsubscribed(this, filters)
    this.#flow.controlDone()
  }

  aedesFailed(error: Error): void {
    this.close(asFescueError(error, 'FESCUE_PACKET_MALFORMED'))
  }

  aedesClosed(): void {
    this.close()
  }

  // ── what the packet flow and the session's pump ask ─────────────────────────────────────────────────────

  feed(packet: Buffer): void {
    const state = this.#state
    if (state.kind === 'ready') state.stream.feed(packet)
  }

  disconnecting(): void {
    this.#disconnecting = true
  }

  pause(): void {
    this.socket.pause()
  }

  resume(): void {
    this.socket.resume()
  }

  send(packet: Buffer): void {
    this.#deps.sent(packet[0] ?? 0)
    this.outgoing.write(packet)
  }

  get backlogBytes(): number {
    return this.outgoing.backlogBytes
  }

  onDrain(callback: () => void): void {
    this.outgoing.onDrain(callback)
  }

  // ── the end ─────────────────────────────────────────────────────────────────────────────────────────────

  /** Reads no more; closes once what was read is committed and acknowledged. */
  finish(): void {
    if (this.#state.kind === 'silent') this.close()
    else if (this.#state.kind !== 'closed') this.#flow.finish(() => this.close())
  }

  /** Ends the connection now; with an error, says why. What is gathered still goes out. */
  close(error?: FescueError): void {
    const state = this.#state
    if (state.kind === 'closed') return
    if (error !== undefined) this.#log(error.code, error.message)
    const polite = this.#disconnecting || this.#flow.disconnectQueued
    const clientId = this.clientId
    this.#state = { kind: 'closed' }
    this.#cancelTimer()
    this.#flow.end()
    if (state.kind === 'ready') {
      state.client.session?.detach(this)
      state.client.live.end()
    }
    if (state.kind !== 'silent') state.stream.destroy()
    this.socket.off('data', this.#onData)
    this.#deps.closed(this, {
      clientId,
      client: state.kind === 'ready' ? state.client : undefined,
      polite,
    })
    this.#endSocket()
  }

  /** A client that does not read what it is sent: nothing waits for it any longer (D6). */
  tooSlow(reason: string): void {
    this.close(new FescueError('FESCUE_CONFLICT', `reads too slowly: ${reason}`))
    this.socket.destroy()
  }

  #endSocket(): void {
    const socket = this.socket
    this.outgoing.flush()
    if (socket.destroyed) return
    // Unread bytes would turn the end into a reset that may overtake a CONNACK.
    socket.resume()
    socket.destroySoon()
    const cancel = this.#deps.clock.after(lingerMs, () => socket.destroy())
    socket.once('close', cancel)
  }

  #log(code: string, reason: string): void {
    const { address, clientId } = this
    this.#deps.refused({ code, address, ...(clientId === undefined ? {} : { client: clientId }) }, reason)
  }

  /** Closes a client that is silent for 1.5 times its keep-alive [MQTT-3.1.2-24]. */
  #keepAlive(seconds: number): () => void {
    if (seconds === 0) return () => {}
    const { clock } = this.#deps
    const limitMs = seconds * 1_500
    let cancel = clock.after(limitMs, check)
    const self = this
    function check(): void {
      // While we do not read, the client cannot show that it lives.
      if (self.socket.isPaused()) self.#lastReadAt = clock.monotonic()
      const leftMs = self.#lastReadAt + limitMs - clock.monotonic()
      if (leftMs > 0) cancel = clock.after(leftMs, check)
      else self.close(new FescueError('FESCUE_PACKET_MALFORMED', `silent for ${limitMs} ms: keep-alive over`))
    }
    return () => cancel()
  }
}

/** The first byte tells: a browser that came to the wrong port is not kept until the time to CONNECT is over. */
function checkFirst(first: number): void {
  if (first >> 4 !== packetType.connect) throw malformed('the first packet is no CONNECT [MQTT-3.1.0-1]')
}
