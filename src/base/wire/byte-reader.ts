/** Reads a body that the other side wrote, checking every bound: a short body is a `WireError`. */
import { WireError } from './frame.ts'

export class ByteReader {
  readonly #bytes: Buffer
  #at: number

  constructor(bytes: Buffer, at = 0) {
    this.#bytes = bytes
    this.#at = at
  }

  /** Position of the next byte. */
  get at(): number {
    return this.#at
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length
  }

  #take(length: number): number {
    const at = this.#at
    if (length > this.#bytes.length - at) throw new WireError('a body ends too early')
    this.#at = at + length
    return at
  }

  u8(): number {
    return this.#bytes[this.#take(1)] ?? 0
  }

  u16(): number {
    return this.#bytes.readUInt16LE(this.#take(2))
  }

  u32(): number {
    return this.#bytes.readUInt32LE(this.#take(4))
  }

  f64(): number {
    return this.#bytes.readDoubleLE(this.#take(8))
  }

  /** u32 length, then UTF-8. */
  text(): string {
    const length = this.u32()
    const at = this.#take(length)
    return this.#bytes.toString('utf8', at, at + length)
  }

  /** u32 length, then bytes: a view, not a copy. */
  bytes(): Buffer {
    const length = this.u32()
    const at = this.#take(length)
    return this.#bytes.subarray(at, at + length)
  }

  /** Passes over a text or bytes field. */
  skipField(): void {
    this.#take(this.u32())
  }

  skip(length: number): void {
    this.#take(length)
  }
}
