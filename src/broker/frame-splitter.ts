/**
 * Cuts the bytes of a socket into MQTT packets, before anything else looks at them.
 *
 *   chunk ─► [fixed header][remaining length][ body ........ ] ─► sink.frame(buffer, start, body, end)
 *                              └─ above maxPacketBytes: refused here, nothing is kept of it (D6)
 *
 * A packet that lies whole in a chunk is given as a place in that chunk, without a copy. One that is split over
 * chunks is gathered in a buffer that doubles as bytes arrive, so an announced length costs nothing.
 */
import { FescueError } from '#base/errors.ts'

export interface FrameSink {
  /** A packet: first byte at `start`, what follows the fixed header in [body, end). Returns whether to go on. */
  frame(buffer: Buffer, start: number, body: number, end: number): boolean
}

/** Bytes of a fixed header: the type and at most four of remaining length (MQTT 3.1.1 section 2.2.3). */
const fixedHeaderMaxBytes = 5
const gatherInitialBytes = 512

/** Where the body of a packet begins and ends, or that more bytes are needed to know. */
type Extent = { readonly body: number; readonly end: number } | undefined

export class FrameSplitter {
  readonly #sink: FrameSink
  #maxPacketBytes: number
  /** The packet that has not arrived in full: its first `#gathered` bytes. */
  #partial: Buffer | undefined
  #gathered = 0

  constructor(sink: FrameSink, maxPacketBytes: number) {
    this.#sink = sink
    this.#maxPacketBytes = maxPacketBytes
  }

  /** Largest packet that is taken, fixed header included; a change holds from the next packet on. */
  set maxPacketBytes(bytes: number) {
    this.#maxPacketBytes = bytes
  }

  /** Whether the next byte is the first of a packet. */
  get isEmpty(): boolean {
    return this.#gathered === 0
  }

  /** Errors: FESCUE_PACKET_TOO_LARGE, FESCUE_PACKET_MALFORMED, and what the sink throws. */
  push(chunk: Buffer): void {
    let at = 0
    if (this.#partial !== undefined) {
      at = this.#complete(chunk)
      if (at < 0) return
    }
    while (at < chunk.length) {
      const extent = this.#extent(chunk, at, chunk.length)
      if (extent === undefined || extent.end > chunk.length) {
        this.#gather(chunk, at, chunk.length)
        return
      }
      if (!this.#sink.frame(chunk, at, extent.body, extent.end)) return
      at = extent.end
    }
  }

  /** Adds to the partial packet; the place in `chunk` after it, or -1 when it still lacks bytes or all stops. */
  #complete(chunk: Buffer): number {
    let at = 0
    let extent = this.#partialExtent()
    while (extent === undefined && at < chunk.length) {
      this.#gather(chunk, at, at + 1)
      at += 1
      extent = this.#partialExtent()
    }
    if (extent === undefined) return -1
    const take = Math.min(extent.end - this.#gathered, chunk.length - at)
    if (take > 0) this.#gather(chunk, at, at + take)
    at += take
    const packet = this.#partial
    if (packet === undefined || this.#gathered < extent.end) return -1
    this.#partial = undefined
    this.#gathered = 0
    return this.#sink.frame(packet, 0, extent.body, extent.end) ? at : -1
  }

  #partialExtent(): Extent {
    return this.#partial === undefined ? undefined : this.#extent(this.#partial, 0, this.#gathered)
  }

  #extent(buffer: Buffer, start: number, limit: number): Extent {
    let remaining = 0
    for (let i = 1; i < fixedHeaderMaxBytes; i++) {
      const at = start + i
      if (at >= limit) return undefined
      const byte = buffer[at] ?? 0
      remaining += (byte & 127) << (7 * (i - 1))
      if (byte < 128) return this.#checked(at + 1, remaining, start)
    }
    throw new FescueError('FESCUE_PACKET_MALFORMED', 'the remaining length is longer than four bytes')
  }

  #checked(body: number, remaining: number, start: number): Extent {
    const bytes = body - start + remaining
    if (bytes > this.#maxPacketBytes) {
      throw new FescueError(
        'FESCUE_PACKET_TOO_LARGE',
        `a packet of ${bytes} bytes; at most ${this.#maxPacketBytes} are taken here`,
      )
    }
    return { body, end: body + remaining }
  }

  #gather(chunk: Buffer, from: number, to: number): void {
    const needed = this.#gathered + to - from
    let partial = this.#partial
    if (partial === undefined || partial.length < needed) {
      const grown = Buffer.allocUnsafeSlow(Math.max(gatherInitialBytes, 2 * (partial?.length ?? 0), needed))
      partial?.copy(grown, 0, 0, this.#gathered)
      partial = grown
      this.#partial = grown
    }
    chunk.copy(partial, this.#gathered, from, to)
    this.#gathered = needed
  }
}
