/**
 * Writes records (base/wire/records.ts) into the memory shared with the executor.
 *
 * One sync call of the host passes a full region on; the isolate waits meanwhile, so what an isolate can pile
 * up outside is what the host accepts (D6). Long strings go with that call as they are, which is cheaper than
 * encoding them here. Each record is complete in the region before `wordWritten` says so.
 */
import { charCodeAt, NativeUint8Array } from './natives.ts'
import { recordsStart, regionBytes, wordWritten } from './region.ts'

/** Takes the first `written` bytes of the region, then a long field if there is one. */
export type FlushRegion = (written: number, field?: string | ArrayBuffer) => void

/** Characters above which a string goes through the call; bytes likewise. */
const longField = 8192

export class Output {
  readonly #words: Int32Array
  readonly #bytes: Uint8Array
  readonly #flushRegion: FlushRegion
  readonly #double = new Float64Array(1)
  readonly #doubleBytes = new NativeUint8Array(this.#double.buffer)
  #at = recordsStart

  constructor(memory: SharedArrayBuffer, flushRegion: FlushRegion) {
    this.#words = new Int32Array(memory, 0, 8)
    this.#bytes = new NativeUint8Array(memory)
    this.#flushRegion = flushRegion
  }

  /** Declares all written so far complete. */
  commit(): void {
    this.#words[wordWritten] = this.#at - recordsStart
  }

  /** Called by the host's side of the lane when it has taken the region. */
  taken(): void {
    this.#at = recordsStart
    this.#words[wordWritten] = 0
  }

  #flush(field?: string | ArrayBuffer): void {
    const written = this.#at - recordsStart
    this.#at = recordsStart
    this.#words[wordWritten] = 0
    this.#flushRegion(written, field)
  }

  #room(bytes: number): void {
    if (this.#at + bytes > regionBytes) this.#flush()
  }

  u8(value: number): void {
    this.#room(1)
    this.#bytes[this.#at++] = value
  }

  u16(value: number): void {
    this.#room(2)
    this.#bytes[this.#at++] = value
    this.#bytes[this.#at++] = value >>> 8
  }

  u32(value: number): void {
    this.#room(4)
    this.#put32(this.#at, value)
    this.#at += 4
  }

  #put32(at: number, value: number): void {
    const bytes = this.#bytes
    bytes[at] = value
    bytes[at + 1] = value >>> 8
    bytes[at + 2] = value >>> 16
    bytes[at + 3] = value >>> 24
  }

  f64(value: number): void {
    this.#room(8)
    this.#double[0] = value
    for (let i = 0; i < 8; i++) this.#bytes[this.#at++] = this.#doubleBytes[i] ?? 0
  }

  /** A u32 length and UTF-8. */
  text(text: string): void {
    const { length } = text
    if (length > longField) {
      this.#flush(text)
      return
    }
    this.#room(4 + length * 3)
    const start = this.#at
    const end = this.#encode(text, start + 4)
    this.#put32(start, end - start - 4)
    this.#at = end
  }

  #encode(text: string, start: number): number {
    const bytes = this.#bytes
    const { length } = text
    let at = start
    for (let i = 0; i < length; i++) {
      const code = charCodeAt(text, i)
      if (code > 127) return this.#encodeRest(text, i, at)
      bytes[at++] = code
    }
    return at
  }

  #encodeRest(text: string, from: number, start: number): number {
    const bytes = this.#bytes
    let at = start
    for (let i = from; i < text.length; i++) {
      let code = charCodeAt(text, i)
      if (code >= 0xd800 && code < 0xe000) {
        const low = i + 1 < text.length ? charCodeAt(text, i + 1) : 0
        const paired = code < 0xdc00 && low >= 0xdc00 && low < 0xe000
        code = paired ? 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00) : 0xfffd
        if (paired) i++
      }
      if (code < 0x80) bytes[at++] = code
      else {
        if (code < 0x800) bytes[at++] = 0xc0 | (code >> 6)
        else {
          if (code < 0x10000) bytes[at++] = 0xe0 | (code >> 12)
          else {
            bytes[at++] = 0xf0 | (code >> 18)
            bytes[at++] = 0x80 | ((code >> 12) & 63)
          }
          bytes[at++] = 0x80 | ((code >> 6) & 63)
        }
        bytes[at++] = 0x80 | (code & 63)
      }
    }
    return at
  }

  /** A u32 length and the bytes of `data`, whose buffer is the trampoline's own copy. */
  raw(data: Uint8Array<ArrayBuffer>, length: number): void {
    if (length > longField) {
      this.#flush(data.buffer)
      return
    }
    this.#room(4 + length)
    this.#put32(this.#at, length)
    this.#at += 4
    for (let i = 0; i < length; i++) this.#bytes[this.#at++] = data[i] ?? 0
  }
}
