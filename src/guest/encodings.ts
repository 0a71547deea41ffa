/** TextEncoder, TextDecoder (UTF-8, UTF-16LE, Latin-1), atob and btoa for an isolate (WHATWG Encoding, HTML). */

/** UTF-8 bytes of a text; a lone surrogate becomes U+FFFD. */
export function utf8Encode(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length * 3)
  let at = 0
  for (let i = 0; i < text.length; i++) {
    let code = text.charCodeAt(i)
    if (code < 0x80) {
      bytes[at++] = code
      continue
    }
    if (code >= 0xd800 && code < 0xe000) {
      const low = text.charCodeAt(i + 1)
      const paired = code < 0xdc00 && low >= 0xdc00 && low < 0xe000
      code = paired ? 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00) : 0xfffd
      if (paired) i++
    }
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
  return bytes.slice(0, at)
}

interface Utf8Step {
  /** Code point, or -1 for bytes that are not UTF-8. */
  readonly code: number
  readonly next: number
}

/** One code point at `at`, replacing as the WHATWG decoder does: a maximal subpart is one error. */
function utf8Step(bytes: Uint8Array, at: number): Utf8Step {
  const first = bytes[at] ?? 0
  if (first < 0x80) return { code: first, next: at + 1 }
  let needed = 0
  let lower = 0x80
  let upper = 0xbf
  let code = 0
  if (first >= 0xc2 && first <= 0xdf) {
    needed = 1
    code = first & 31
  } else if (first >= 0xe0 && first <= 0xef) {
    needed = 2
    code = first & 15
    if (first === 0xe0) lower = 0xa0
    if (first === 0xed) upper = 0x9f
  } else if (first >= 0xf0 && first <= 0xf4) {
    needed = 3
    code = first & 7
    if (first === 0xf0) lower = 0x90
    if (first === 0xf4) upper = 0x8f
  } else return { code: -1, next: at + 1 }
  let next = at + 1
  for (let i = 0; i < needed; i++, next++) {
    const byte = bytes[next]
    if (byte === undefined || byte < lower || byte > upper) return { code: -1, next }
    lower = 0x80
    upper = 0xbf
    code = (code << 6) | (byte & 63)
  }
  return { code, next }
}

/** Text of UTF-8 bytes; with `fatal`, a TypeError where they are none. */
export function utf8Decode(bytes: Uint8Array, fatal = false): string {
  let text = ''
  let at = 0
  while (at < bytes.length) {
    const step = utf8Step(bytes, at)
    if (step.code < 0 && fatal) throw new TypeError('The encoded data was not valid for encoding utf-8')
    text += step.code < 0 ? '\ufffd' : String.fromCodePoint(step.code)
    at = step.next
  }
  return text
}

/** Bytes at the end of `bytes` that may be the beginning of a code point. */
function unfinishedBytes(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] ?? 0
    if (byte < 0x80) return 0
    if (byte >= 0xc0) return back < (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) ? back : 0
  }
  return 0
}

function viewBytes(input: ArrayBuffer | ArrayBufferView | undefined): Uint8Array {
  if (input === undefined) return new Uint8Array(0)
  if (ArrayBuffer.isView(input)) return new Uint8Array(input.buffer, input.byteOffset, input.byteLength)
  return new Uint8Array(input)
}

export class GuestTextEncoder {
  readonly encoding = 'utf-8'

  encode(text = ''): Uint8Array<ArrayBuffer> {
    return utf8Encode(String(text))
  }

  /** Encodes whole code points while there is room. */
  encodeInto(text: string, target: Uint8Array): { read: number; written: number } {
    let read = 0
    let written = 0
    for (const character of String(text)) {
      const bytes = utf8Encode(character)
      if (written + bytes.length > target.length) break
      target.set(bytes, written)
      written += bytes.length
      read += character.length
    }
    return { read, written }
  }
}

const decoderLabels: Readonly<Record<string, string>> = {
  'utf-8': 'utf-8',
  utf8: 'utf-8',
  'unicode-1-1-utf-8': 'utf-8',
  'utf-16le': 'utf-16le',
  'utf-16': 'utf-16le',
  ucs2: 'utf-16le',
  latin1: 'latin1',
  'iso-8859-1': 'latin1',
  ascii: 'latin1',
  'us-ascii': 'latin1',
}

export class GuestTextDecoder {
  readonly encoding: string
  readonly fatal: boolean
  readonly ignoreBOM: boolean
  #held: Uint8Array = new Uint8Array(0)
  #started = false

  constructor(label = 'utf-8', options: { fatal?: boolean; ignoreBOM?: boolean } = {}) {
    const encoding = decoderLabels[String(label).trim().toLowerCase()]
    if (encoding === undefined) throw new RangeError(`The "${label}" encoding is not supported`)
    this.encoding = encoding
    this.fatal = options.fatal === true
    this.ignoreBOM = options.ignoreBOM === true
  }

  decode(input?: ArrayBuffer | ArrayBufferView, options: { stream?: boolean } = {}): string {
    let bytes = viewBytes(input)
    if (this.#held.length > 0) {
      const joined = new Uint8Array(this.#held.length + bytes.length)
      joined.set(this.#held)
      joined.set(bytes, this.#held.length)
      bytes = joined
      this.#held = new Uint8Array(0)
    }
    const stream = options.stream === true
    if (stream) {
      const held =
        this.encoding === 'utf-8'
          ? unfinishedBytes(bytes)
          : this.encoding === 'utf-16le'
            ? bytes.length % 2
            : 0
      this.#held = bytes.slice(bytes.length - held)
      bytes = bytes.subarray(0, bytes.length - held)
    }
    const text = this.#text(bytes)
    const first = !this.#started
    this.#started = stream && (this.#started || bytes.length > 0)
    return first && !this.ignoreBOM && text.charCodeAt(0) === 0xfeff ? text.slice(1) : text
  }

  #text(bytes: Uint8Array): string {
    if (this.encoding === 'utf-8') return utf8Decode(bytes, this.fatal)
    let text = ''
    if (this.encoding === 'latin1') for (const byte of bytes) text += String.fromCharCode(byte)
    else
      for (let i = 0; i + 1 < bytes.length; i += 2)
        text += String.fromCharCode((bytes[i] ?? 0) | ((bytes[i + 1] ?? 0) << 8))
    return text
  }
}

const base64Digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'

/** What the HTML standard calls forgiving-base64 decode, to a string of bytes. */
export function guestAtob(input: unknown): string {
  const text = String(input).replace(/[\t\n\f\r ]/g, '')
  const trimmed = text.length % 4 === 0 ? text.replace(/==?$/, '') : text
  if (trimmed.length % 4 === 1 || /[^A-Za-z0-9+/]/.test(trimmed))
    throw new TypeError('The string to be decoded is not correctly encoded')
  let bytes = ''
  let bits = 0
  let held = 0
  for (const digit of trimmed) {
    held = (held << 6) | base64Digits.indexOf(digit)
    bits += 6
    if (bits >= 8) {
      bits -= 8
      bytes += String.fromCharCode((held >> bits) & 255)
    }
  }
  return bytes
}

export function guestBtoa(input: unknown): string {
  const bytes = String(input)
  let text = ''
  for (let i = 0; i < bytes.length; i += 3) {
    const [a, b, c] = [bytes.charCodeAt(i), bytes.charCodeAt(i + 1), bytes.charCodeAt(i + 2)]
    if (a > 255 || b > 255 || c > 255) throw new TypeError('btoa takes characters up to U+00FF')
    const triple = ((a ?? 0) << 16) | ((b || 0) << 8) | (c || 0)
    text += `${base64Digits[triple >> 18]}${base64Digits[(triple >> 12) & 63]}`
    text += i + 1 < bytes.length ? base64Digits[(triple >> 6) & 63] : '='
    text += i + 2 < bytes.length ? base64Digits[triple & 63] : '='
  }
  return text
}
