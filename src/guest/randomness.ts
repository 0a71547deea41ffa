/**
 * `Math.random` and `crypto` from a stream of the invocation's own (D8): equal in a replay, and not to be guessed
 * by who knows the invocation's id, because the executor derives it with a secret key.
 *
 * A block is drawn from the host when the first number is asked for; a function that uses none pays nothing.
 */
import { NativeRangeError, NativeTypeError, NativeUint8Array, objectDefineProperty } from './natives.ts'

/** Bytes of randomness that the host gives at once. */
const blockBytes = 1024
/** Most bytes that one getRandomValues may ask for (Web Cryptography API, 10.1.1). */
const randomValuesBytesMax = 65_536

/** Gives block number `block` of the stream of the invocation `id`. */
export type DrawBlock = (id: string, block: number) => ArrayBuffer

export class Randomness {
  readonly #draw: DrawBlock
  #owner: { readonly id: string } = { id: '' }
  #block = 0
  #bytes: Uint8Array = new NativeUint8Array(0)
  #at = 0

  constructor(draw: DrawBlock) {
    this.#draw = draw
  }

  /** The following numbers belong to `owner`, an invocation. */
  begin(owner: { readonly id: string }): void {
    this.#owner = owner
    if (this.#block === 0) return
    this.#block = 0
    this.#bytes = new NativeUint8Array(0)
    this.#at = 0
  }

  byte(): number {
    if (this.#at >= this.#bytes.length) {
      this.#bytes = new NativeUint8Array(this.#draw(this.#owner.id, this.#block++))
      this.#at = 0
      if (this.#bytes.length !== blockBytes) throw new NativeTypeError('no randomness')
    }
    return this.#bytes[this.#at++] ?? 0
  }

  #u32(): number {
    return (this.byte() | (this.byte() << 8) | (this.byte() << 16) | (this.byte() << 24)) >>> 0
  }

  /** Uniform in [0, 1) with 53 bits. */
  number(): number {
    return ((this.#u32() >>> 5) * 67_108_864 + (this.#u32() >>> 6)) / 9_007_199_254_740_992
  }
}

const hexDigits = '0123456789abcdef'

/** RFC 9562, version 4. */
function uuidFrom(randomness: Randomness): string {
  let text = ''
  for (let i = 0; i < 16; i++) {
    let byte = randomness.byte()
    if (i === 6) byte = (byte & 15) | 64
    if (i === 8) byte = (byte & 63) | 128
    if (i === 4 || i === 6 || i === 8 || i === 10) text += '-'
    text += `${hexDigits[byte >> 4]}${hexDigits[byte & 15]}`
  }
  return text
}

/** Installs `Math.random` and `crypto.getRandomValues|randomUUID`. */
export function installRandomness(randomness: Randomness): void {
  const crypto = {
    getRandomValues<T extends ArrayBufferView>(view: T): T {
      if (!ArrayBuffer.isView(view)) throw new NativeTypeError('getRandomValues takes a typed array')
      if (view.byteLength > randomValuesBytesMax)
        throw new NativeRangeError(`getRandomValues gives at most ${randomValuesBytesMax} bytes`)
      const bytes = new NativeUint8Array(view.buffer, view.byteOffset, view.byteLength)
      for (let i = 0; i < bytes.length; i++) bytes[i] = randomness.byte()
      return view
    },
    randomUUID: () => uuidFrom(randomness),
  }
  const hidden = { writable: true, configurable: true, enumerable: false }
  objectDefineProperty(Math, 'random', { ...hidden, value: () => randomness.number() })
  objectDefineProperty(globalThis, 'crypto', { ...hidden, value: crypto })
}
