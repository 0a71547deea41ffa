/**
 * One side of the socket between the daemon and an executor: sends and receives frames.
 *
 *   send() ──► waiting ──(one write per turn, while the window is open)──► socket ──► peer's FrameReader
 *          ◄────────────── credit frames: "I have taken n more bytes" ◄────────────────────┘
 *
 * Credits, not the socket's own buffer, bound what is under way (D6): once `windowBytes` have left
 * without the peer's word that it took them, the rest waits here, and `ready` tells producers to stop making
 * more; they bound their own share. A peer that stops reading thus costs one window and what its producers
 * had in hand, never more.
 */
import type { Duplex } from 'node:stream'
import { type Frame, FrameReader, frameHeader, WireError } from './frame.ts'

/** Once so many bytes are on their way to a peer that has not said it took them, nothing more leaves. */
export const windowBytes = 4 * 1024 * 1024
/** Credits are given back in steps of this size, so that they cost next to nothing. */
const creditStepBytes = 256 * 1024
/** Type of the frame that gives credits back; owners use types from 1. */
const creditType = 0

export interface ChannelEvents {
  frame(frame: Frame): void
  /** There is room again after `ready` was false. */
  drained(): void
  /** The socket ended or failed, or the peer broke the protocol (`error` is a WireError then). */
  closed(error: Error | undefined): void
}

type State = 'open' | 'closed'

export class FrameChannel {
  readonly #socket: Duplex
  readonly #events: ChannelEvents
  readonly #reader = new FrameReader()
  #state: State = 'open'
  #waiting: Buffer[] = []
  #waitingBytes = 0
  #turnScheduled = false
  #unacknowledgedBytes = 0
  #takenBytes = 0

  constructor(socket: Duplex, events: ChannelEvents) {
    this.#socket = socket
    this.#events = events
    socket.on('data', (chunk: Buffer) => this.#receive(chunk))
    socket.on('error', error => this.#close(error))
    socket.on('close', () => this.#close(undefined))
    socket.on('end', () => this.#close(undefined))
  }

  /** False while a window's worth waits to be sent: producers stop until `drained`. */
  get ready(): boolean {
    return this.#state === 'open' && this.#waitingBytes + this.#unacknowledgedBytes < windowBytes
  }

  /** Bytes that wait here or are on their way. */
  get pendingBytes(): number {
    return this.#waitingBytes + this.#unacknowledgedBytes
  }

  /** Queues a frame; `pieces` must not change afterwards. Silent after the end: the owner hears `closed`. */
  send(type: number, id: number, ...pieces: readonly Buffer[]): void {
    if (this.#state !== 'open') return
    let bytes = 0
    for (const piece of pieces) bytes += piece.length
    const header = frameHeader(type, id, bytes)
    this.#waiting.push(header, ...pieces)
    this.#waitingBytes += header.length + bytes
    if (this.#turnScheduled) return
    this.#turnScheduled = true
    setImmediate(() => this.#flush())
  }

  /** Writes what waits now, without waiting for the end of the turn. */
  flushNow(): void {
    this.#flush()
  }

  #flush(): void {
    this.#turnScheduled = false
    if (this.#state !== 'open' || this.#waiting.length === 0) return
    if (this.#unacknowledgedBytes >= windowBytes) return
    const bytes = Buffer.concat(this.#waiting, this.#waitingBytes)
    this.#waiting = []
    this.#waitingBytes = 0
    this.#unacknowledgedBytes += bytes.length
    this.#socket.write(bytes)
  }

  #receive(chunk: Buffer): void {
    if (this.#state !== 'open') return
    this.#takenBytes += chunk.length
    try {
      this.#reader.push(chunk, frame => {
        if (frame.type === creditType) this.#takeCredit(frame)
        else if (this.#state === 'open') this.#events.frame(frame)
      })
    } catch (error) {
      if (!(error instanceof WireError)) throw error
      this.#socket.destroy()
      this.#close(error)
      return
    }
    if (this.#takenBytes >= creditStepBytes) this.#giveCredit()
  }

  #giveCredit(): void {
    const body = Buffer.allocUnsafe(4)
    body.writeUInt32LE(this.#takenBytes, 0)
    this.#takenBytes = 0
    // Outside the window, or two full sides would wait for each other.
    if (this.#state === 'open') this.#socket.write(Buffer.concat([frameHeader(creditType, 0, 4), body]))
  }

  #takeCredit(frame: Frame): void {
    if (frame.body.length !== 4) throw new WireError('a credit frame of the wrong size')
    const bytes = frame.body.readUInt32LE(0)
    if (bytes > this.#unacknowledgedBytes + creditStepBytes)
      throw new WireError('credit for more than was sent')
    const wasReady = this.ready
    this.#unacknowledgedBytes = Math.max(0, this.#unacknowledgedBytes - bytes)
    if (this.#waiting.length > 0) this.#flush()
    if (!wasReady && this.ready) this.#events.drained()
  }

  #close(error: Error | undefined): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#waiting = []
    this.#waitingBytes = 0
    this.#events.closed(error)
  }
}
