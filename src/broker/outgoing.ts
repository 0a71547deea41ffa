/**
 * What goes out to one client: gathered while the event loop turns, written once at the end of the turn.
 *
 *   aedes ──► write ─┐
 *   acks ───► ack ───┼─► chunk (16 KiB, pooled) ─► … ─► one write(2) or writev(2) a turn ─► kernel
 *   live ───► publish┘                                        │
 *                                                             └─ not taken? backlogBytes grows; `onDrain` tells
 *
 * One write a packet costs more than all else that a broker does. The turn's end is one `setImmediate` for all
 * connections (`TurnWriter`). Backlog is counted here; who may add to it decides (`live-client.ts`, session pump).
 */
import type { Socket } from 'node:net'
import type { EncodedPublish } from './packet-writer.ts'
import { ackHeader } from './packet-writer.ts'
import { linkBacklogMaxBytes } from './session.ts'

export const chunkBytes = 16 * 1024
/** Chunks kept for reuse by all connections together (1 MiB). */
const freeChunksMax = 64

/** Flushes every connection that has something to say, once per turn of the event loop. */
export class TurnWriter {
  #dirty: Outgoing[] = []
  #scheduled = false
  readonly #free: Buffer[] = []

  schedule(outgoing: Outgoing): void {
    this.#dirty.push(outgoing)
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(this.#flush)
  }

  takeChunk(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(chunkBytes)
  }

  giveChunk(chunk: Buffer): void {
    if (chunk.length === chunkBytes && this.#free.length < freeChunksMax) this.#free.push(chunk)
  }

  readonly #flush = (): void => {
    this.#scheduled = false
    const dirty = this.#dirty
    this.#dirty = []
    for (const outgoing of dirty) outgoing.flush()
  }
}

export class Outgoing {
  readonly #socket: Socket
  readonly #turn: TurnWriter
  #chunk: Buffer | undefined
  #used = 0
  /** Full chunks and payloads by reference, in order, before the open chunk. */
  #parts: Buffer[] = []
  #partsBytes = 0
  /** Pooled chunks among `#parts`, given back once written. */
  #pooled: Buffer[] = []
  #scheduled = false
  #waiting: (() => void)[] = []

  constructor(socket: Socket, turn: TurnWriter) {
    this.#socket = socket
    this.#turn = turn
  }

  /** Bytes accepted here and not yet taken by the kernel. */
  get backlogBytes(): number {
    return this.#socket.writableLength + this.#partsBytes + this.#used
  }

  /** Calls once when the backlog is below half of `linkBacklogMaxBytes`. */
  onDrain(callback: () => void): void {
    this.#waiting.push(callback)
    if (this.backlogBytes < linkBacklogMaxBytes / 2) setImmediate(this.#wake)
  }

  /** Whole packets, or parts of one given in order within one call stack. The bytes are copied when few. */
  write(bytes: Buffer): void {
    if (bytes.length > chunkBytes / 4) this.#reference(bytes)
    else this.#copy(bytes, bytes.length)
  }

  /** An acknowledgement of `type` (MQTT 3.1.1 sections 3.4 to 3.7). */
  ack(type: number, packetId: number): void {
    const chunk = this.#room(4)
    const at = this.#used
    chunk[at] = ackHeader(type)
    chunk[at + 1] = 2
    chunk[at + 2] = packetId >> 8
    chunk[at + 3] = packetId & 255
    this.#used = at + 4
  }

  publish(encoded: EncodedPublish, packetId: number): void {
    const { bytes, length, packetIdAt, payload } = encoded
    if (length > chunkBytes) {
      // A topic of more than 16 KB: rare enough for a buffer of its own.
      const own = Buffer.from(bytes.subarray(0, length))
      if (packetIdAt >= 0) own.writeUInt16BE(packetId, packetIdAt)
      this.#reference(own)
    } else {
      const at = this.#copy(bytes, length)
      const chunk = this.#chunk
      if (packetIdAt >= 0 && chunk !== undefined) {
        chunk[at + packetIdAt] = packetId >> 8
        chunk[at + packetIdAt + 1] = packetId & 255
      }
    }
    if (payload !== undefined) this.#reference(payload)
  }

  /** Hands all that is gathered to the kernel. */
  flush(): void {
    this.#scheduled = false
    const socket = this.#socket
    if (socket.destroyed || socket.writableEnded) {
      this.#discard()
      return
    }
    this.#closeChunk(true)
    const parts = this.#parts
    const last = parts.length - 1
    if (last < 0) return
    const pooled = this.#pooled
    this.#parts = []
    this.#pooled = []
    this.#partsBytes = 0
    if (last > 0) socket.cork()
    for (const [i, part] of parts.entries()) {
      if (i < last) socket.write(part)
      else socket.write(part, () => this.#written(pooled))
    }
    if (last > 0) socket.uncork()
  }

  #written(pooled: readonly Buffer[]): void {
    for (const chunk of pooled) this.#turn.giveChunk(chunk)
    if (this.#waiting.length > 0 && this.backlogBytes < linkBacklogMaxBytes / 2) this.#wake()
  }

  readonly #wake = (): void => {
    const waiting = this.#waiting
    this.#waiting = []
    for (const callback of waiting) callback()
  }

  #discard(): void {
    this.#chunk = undefined
    this.#used = 0
    this.#parts = []
    this.#pooled = []
    this.#partsBytes = 0
    this.#waiting = []
  }

  /** Copies and returns where in the open chunk. */
  #copy(bytes: Buffer, length: number): number {
    const chunk = this.#room(length)
    const at = this.#used
    bytes.copy(chunk, at, 0, length)
    this.#used = at + length
    return at
  }

  #room(bytes: number): Buffer {
    if (this.#chunk !== undefined && this.#used + bytes <= chunkBytes) return this.#chunk
    this.#closeChunk(false)
    this.#schedule()
    this.#chunk = this.#turn.takeChunk()
    return this.#chunk
  }

  #reference(bytes: Buffer): void {
    this.#closeChunk(false)
    this.#schedule()
    this.#parts.push(bytes)
    this.#partsBytes += bytes.length
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    this.#turn.schedule(this)
  }

  /**
   * Moves the open chunk to the parts. At a flush to a socket that is behind, a part-filled chunk is copied to its
   * size, so that a backlog of many small turns holds no more memory than its bytes.
   */
  #closeChunk(flushing: boolean): void {
    const chunk = this.#chunk
    if (chunk === undefined) return
    const used = this.#used
    this.#chunk = undefined
    this.#used = 0
    const behind = flushing && used < chunkBytes / 2 && this.#socket.writableLength > 0
    this.#parts.push(behind ? Buffer.from(chunk.subarray(0, used)) : chunk.subarray(0, used))
    this.#partsBytes += used
    if (behind) this.#turn.giveChunk(chunk)
    else this.#pooled.push(chunk)
  }
}
