/**
 * Frames between the daemon and an executor: how bytes on the socket become frames.
 *
 *   | u32 length | u8 type | u32 id | body (length - 5 bytes) |      little endian
 *
 * The reader never trusts the peer: a length outside its bounds is a `WireError`, and the owner kills the
 * executor that sent it (D5). Bodies are views into the received chunk: whoever keeps one copies it.
 */

/** Bytes of a frame's length, type and id. */
export const frameHeaderBytes = 9
/** Largest length field that is accepted, either way (D6). */
export const frameBytesMax = 16 * 1024 * 1024

/** The peer broke the protocol. */
export class WireError extends Error {
  override readonly name = 'WireError'
}

export interface Frame {
  readonly type: number
  readonly id: number
  readonly body: Buffer
}

/** Header of a frame whose body has `bodyBytes` bytes. */
export function frameHeader(type: number, id: number, bodyBytes: number): Buffer {
  if (bodyBytes + 5 > frameBytesMax) throw new WireError(`a frame of ${bodyBytes} bytes is too large`)
  const header = Buffer.allocUnsafe(frameHeaderBytes)
  header.writeUInt32LE(bodyBytes + 5, 0)
  header[4] = type
  header.writeUInt32LE(id, 5)
  return header
}

/** Cuts a stream of chunks into frames. Holds at most one unfinished frame. */
export class FrameReader {
  #chunks: Buffer[] = []
  #held = 0
  #wanted = 4

  /** Bytes of the unfinished frame held so far. */
  get heldBytes(): number {
    return this.#held
  }

  /** Calls `each` for every frame that `chunk` completes; throws WireError on a length out of bounds. */
  push(chunk: Buffer, each: (frame: Frame) => void): void {
    this.#held += chunk.length
    if (this.#held < this.#wanted) {
      this.#chunks.push(chunk)
      return
    }
    let bytes = this.#chunks.length === 0 ? chunk : Buffer.concat([...this.#chunks, chunk], this.#held)
    while (bytes.length >= 4) {
      const length = bytes.readUInt32LE(0)
      if (length < 5 || length > frameBytesMax) throw new WireError(`a frame of length ${length}`)
      if (bytes.length < 4 + length) break
      each({ type: bytes[4] ?? 0, id: bytes.readUInt32LE(5), body: bytes.subarray(9, 4 + length) })
      bytes = bytes.subarray(4 + length)
    }
    this.#wanted = bytes.length >= 4 ? 4 + bytes.readUInt32LE(0) : 4
    this.#chunks = bytes.length > 0 ? [bytes] : []
    this.#held = bytes.length
  }
}
