/**
 * The order of one client's packets after its CONNECT: what goes to aedes, what is ours, and who waits for whom.
 *
 *                      ┌─ PUBLISH ──────────► admission        waits behind CONNECT, SUBSCRIBE, UNSUBSCRIBE
 *   frame ─► barrier? ─┼─ SUBSCRIBE … ──────► aedes            waits until all earlier publishes are committed
 *              │       ├─ PUBACK … PINGREQ ─► at once          overtakes publishes that wait for room
 *              ▼       └─ DISCONNECT ───────► aedes            overtakes those too: they were promised nothing
 *        queue (bounded; above, the socket is paused)
 *
 * One thing is waited for at a time (`Wait`). A publish waits for room at most `blockMs` after it arrived, then the
 * connection is closed: MQTT 3.1.1 has no other way to refuse it.
 */
import type { Clock } from '#base/clock.ts'
import { asFescueError, FescueError } from '#base/errors.ts'
import { Admission, type AdmissionDeps, type Hold } from './admission.ts'
import { FrameQueue, type QueuedFrame } from './frame-queue.ts'
import type { LiveClient } from './live-client.ts'
import type { Outgoing } from './outgoing.ts'
import { checkHeader, checkSubscribe, checkUnsubscribe, packetType } from './packet-check.ts'
import { readPacketId, readPublish } from './packet-reader.ts'
import { malformed, type TopicReader } from './packet-text.ts'
import type { AckOutcome, InboundIds, Session } from './session.ts'

/** Bytes of waiting packets above which the socket is read no further. */
export const guardMaxBytes = 256 * 1024

export interface PacketFlowDeps extends AdmissionDeps {
  readonly topics: TopicReader
  /** Longest wait of a publish for room. */
  readonly blockMs: number
}

/** What the flow asks of its connection. */
export interface FlowPeer {
  readonly outgoing: Outgoing
  readonly level: 3 | 4
  /** Gives aedes a control packet. */
  feed(packet: Buffer): void
  /** DISCONNECT has been read: what follows it is not looked at. */
  disconnecting(): void
  close(error: FescueError): void
  pause(): void
  resume(): void
}

/** A client whose CONNECT was accepted. */
export interface FlowClient {
  readonly clientId: string
  readonly live: LiveClient
  readonly session: Session | undefined
  readonly inbound: InboundIds
}

type Wait =
  | { readonly kind: 'nothing' }
  /** CONNECT is with aedes. */
  | { readonly kind: 'connect' }
  /** SUBSCRIBE or UNSUBSCRIBE is with aedes. */
  | { readonly kind: 'control' }
  /** A SUBSCRIBE or UNSUBSCRIBE waits for the commit of earlier publishes. */
  | { readonly kind: 'settle' }
  | { readonly kind: 'room'; readonly hold: Hold; cancel(): void }
  | { readonly kind: 'ended' }

const nothing: Wait = { kind: 'nothing' }
const pingresp = Buffer.of(0xd0, 0)

export class PacketFlow {
  readonly #deps: PacketFlowDeps
  readonly #peer: FlowPeer
  readonly #queue = new FrameQueue()
  readonly #clock: Clock
  #wait: Wait = { kind: 'connect' }
  #client: (FlowClient & { readonly admission: Admission }) | undefined
  #paused = false
  /** Set when no more will come: called once everything taken is committed and acknowledged. */
  #finished: (() => void) | undefined

  constructor(deps: PacketFlowDeps, peer: FlowPeer) {
    this.#deps = deps
    this.#clock = deps.clock
    this.#peer = peer
  }

  /** CONNACK is out: takes what has queued up. */
  open(client: FlowClient): void {
    const admission = new Admission(this.#deps, {
      origin: { kind: 'mqtt', client: client.clientId },
      outgoing: this.#peer.outgoing,
      inbound: client.inbound,
      persistent: client.session !== undefined,
      failed: error => this.#peer.close(error),
      settled: () => this.#settled(),
    })
    this.#client = { ...client, admission }
    this.#goOn()
  }

  /** SUBACK or UNSUBACK is out. */
  controlDone(): void {
    if (this.#wait.kind === 'control') this.#goOn()
  }

  /** Takes a packet that was just read. Errors: FESCUE_PACKET_MALFORMED. */
  take(buffer: Buffer, start: number, body: number, end: number): void {
    if (this.#mustQueue((buffer[start] ?? 0) >> 4)) {
      this.#queue.push({ buffer, start, body, end, at: this.#clock.monotonic() })
    } else {
      this.#handle(buffer, start, body, end, undefined)
    }
  }

  /** All packets of one read were taken: what they publish is committed together. */
  readEnded(): void {
    this.#client?.admission.submit()
    if (!this.#paused && this.#queue.bytes > guardMaxBytes) {
      this.#paused = true
      this.#peer.pause()
    }
  }

  /** Whether DISCONNECT is among what waits. */
  get disconnectQueued(): boolean {
    return this.#queue.some(({ buffer, start }) => (buffer[start] ?? 0) >> 4 === packetType.disconnect)
  }

  /** No more will be read: calls back once what was taken is committed and acknowledged. */
  finish(done: () => void): void {
    this.#finished = done
    if (this.#wait.kind === 'room') this.#dropQueue()
    this.#checkFinished()
  }

  /** Forgets what waits, as at a stop: nothing was promised for it. */
  #dropQueue(): void {
    if (this.#wait.kind === 'room') this.#wait.cancel()
    this.#wait = nothing
    this.#queue.clear()
  }

  end(): void {
    this.#dropQueue()
    this.#wait = { kind: 'ended' }
    this.#client?.admission.submit()
    this.#finished = undefined
  }

  #mustQueue(type: number): boolean {
    switch (this.#wait.kind) {
      case 'nothing':
      case 'ended':
        return false
      case 'connect':
        return true
      case 'room':
        return type === packetType.publish || type === packetType.subscribe || type === packetType.unsubscribe
      default:
        return (
          type === packetType.publish ||
          type === packetType.subscribe ||
          type === packetType.unsubscribe ||
          type === packetType.disconnect
        )
    }
  }

  /** `queued` is the head of the queue when the packet comes from there. */
  #handle(buffer: Buffer, start: number, body: number, end: number, queued: QueuedFrame | undefined): void {
    const client = this.#client
    if (client === undefined || this.#wait.kind === 'ended') return
    const first = buffer[start] ?? 0
    const type = first >> 4
    if (type === packetType.publish) {
      const packet = readPublish(this.#deps.topics, buffer, start, body, end)
      const hold = client.admission.publish(packet)
      if (hold !== undefined) this.#hold(hold, buffer, start, body, end, queued)
      else if (queued !== undefined) this.#queue.shift()
      return
    }
    checkHeader(first, end - body, this.#peer.level)
    switch (type) {
      case packetType.puback:
      case packetType.pubrec:
      case packetType.pubcomp:
        this.#acknowledged(client, type, readPacketId(buffer, body, end))
        break
      case packetType.pubrel:
        this.#release(client.admission, readPacketId(buffer, body, end))
        break
      case packetType.subscribe:
      case packetType.unsubscribe:
        this.#control(client.admission, buffer, start, body, end, queued)
        return
      case packetType.pingreq:
        // Not aedes's: it answers one after the other, and a flood would pile up before it.
        this.#peer.outgoing.write(pingresp)
        break
      case packetType.disconnect:
        client.admission.submit()
        this.#peer.disconnecting()
        this.#peer.feed(buffer.subarray(start, end))
        break
      default:
        throw malformed('a second CONNECT [MQTT-3.1.0-2]')
    }
    if (queued !== undefined) this.#queue.shift()
  }

  #control(
    admission: Admission,
    buffer: Buffer,
    start: number,
    body: number,
    end: number,
    queued: QueuedFrame | undefined,
  ): void {
    if ((buffer[start] ?? 0) >> 4 === packetType.subscribe) checkSubscribe(buffer, body, end)
    else checkUnsubscribe(buffer, body, end)
    admission.submit()
    if (!admission.idle) {
      this.#wait = { kind: 'settle' }
      if (queued === undefined) this.#queue.push({ buffer, start, body, end, at: this.#clock.monotonic() })
      return
    }
    if (queued !== undefined) this.#queue.shift()
    this.#wait = { kind: 'control' }
    this.#peer.feed(buffer.subarray(start, end))
  }

  #acknowledged(client: FlowClient, type: number, packetId: number): void {
    const { session, live } = client
    if (session === undefined) {
      if (type === packetType.puback) check(live.puback(packetId), type, packetId)
      else if (type === packetType.pubrec) check(live.pubrec(packetId), type, packetId)
      else check(live.pubcomp(packetId), type, packetId)
    } else if (type === packetType.pubrec) {
      session.received(packetId, error => {
        if (error === undefined) this.#peer.outgoing.ack(packetType.pubrel, packetId)
        else if (error instanceof FescueError) this.#peer.close(error)
      })
    } else {
      check(session.acknowledge(packetId, type === packetType.puback ? 'puback' : 'pubcomp'), type, packetId)
    }
  }

  #release(admission: Admission, packetId: number): void {
    admission.release(packetId)
    // The id is free from now on, before its deletion is on disk.
    if (this.#wait.kind === 'room' && this.#wait.hold.kind === 'inflight') this.#retry()
  }

  #hold(
    hold: Hold,
    buffer: Buffer,
    start: number,
    body: number,
    end: number,
    queued: QueuedFrame | undefined,
  ): void {
    const admission = this.#client?.admission
    if (admission === undefined) return
    admission.submit()
    const frame = queued ?? { buffer, start, body, end, at: this.#clock.monotonic() }
    if (queued === undefined) this.#queue.push(frame)
    const leftMs = frame.at + this.#deps.blockMs - this.#clock.monotonic()
    const cancelRetry = admission.whenRoom(hold, this.#retry)
    const cancelDeadline = this.#clock.after(Math.max(0, leftMs), () => this.#peer.close(refusalOf(hold)))
    this.#wait = {
      kind: 'room',
      hold,
      cancel() {
        cancelRetry()
        cancelDeadline()
      },
    }
  }

  readonly #retry = (): void => {
    if (this.#wait.kind !== 'room') return
    this.#wait.cancel()
    this.#goOn()
  }

  #settled(): void {
    if (this.#wait.kind === 'room' && this.#wait.hold.kind !== 'log') this.#retry()
    else if (this.#wait.kind === 'settle' && this.#client?.admission.idle === true) this.#goOn()
    else this.#checkFinished()
  }

  /** Nothing is waited for now: takes packets from the queue until it is empty or the next wait begins. */
  #goOn(): void {
    this.#wait = nothing
    try {
      while (this.#wait.kind === 'nothing') {
        const frame = this.#queue.peek()
        if (frame === undefined) break
        this.#handle(frame.buffer, frame.start, frame.body, frame.end, frame)
      }
    } catch (error) {
      this.#peer.close(asFescueError(error))
      return
    }
    this.#client?.admission.submit()
    if (this.#paused && this.#queue.bytes <= guardMaxBytes / 2) {
      this.#paused = false
      this.#peer.resume()
    }
    this.#checkFinished()
  }

  #checkFinished(): void {
    const done = this.#finished
    if (done === undefined || this.#queue.size > 0 || this.#wait.kind !== 'nothing') return
    if (this.#client?.admission.idle !== true) return
    this.#finished = undefined
    done()
  }
}

function check(outcome: AckOutcome, type: number, packetId: number): void {
  if (outcome === 'wrong')
    throw malformed(`type ${type} does not belong to the flow of packet id ${packetId}`)
}

function refusalOf(hold: Hold): FescueError {
  if (hold.kind === 'log')
    return new FescueError('FESCUE_STORE_FULL', `log ${hold.log.name} is full and its overflow is "block"`)
  if (hold.kind === 'store')
    return new FescueError('FESCUE_STORE_FULL', 'the disk takes no new messages: free some space')
  return new FescueError('FESCUE_PACKET_MALFORMED', 'too many messages in flight that are never finished')
}
