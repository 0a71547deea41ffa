/**
 * Writing and reading of binary values: big-endian fixed numbers, varints (LEB128, up to 53 bits) and text.
 *
 * `ByteWriter` grows, but whoever knows the size passes it, so that each byte is copied once. Short text is
 * written by a loop (topics, origins: faster than a call into C++ below some 64 characters).
 */

const loopTextMax = 64

export class ByteWriter {
  #buffer: Buffer
  #length = 0

  constructor(capacityBytes: number) {
    this.#buffer = Buffer.allocUnsafe(capacityBytes)
  }

  /** For what is kept: in Node's pool a few bytes that live long keep all that was written around them. */
  static outsidePool(capacityBytes: number): ByteWriter {
    const writer = new ByteWriter(0)
    writer.#buffer = Buffer.allocUnsafeSlow(capacityBytes)
    return writer
  }

  get length(): number {
    return this.#length
  }

  /** What was written so far; shares memory with the writer. */
  result(): Buffer {
    return this.#length === this.#buffer.length ? this.#buffer : this.#buffer.subarray(0, this.#length)
  }

  u8(value: number): void {
    this.#ensure(1)
    this.#buffer[this.#length++] = value
  }

  u16(value: number): void {
    this.#ensure(2)
    this.#buffer[this.#length++] = value >>> 8
    this.#buffer[this.#length++] = value
  }

  u32(value: number): void {
    this.#ensure(4)
    this.#length = this.#buffer.writeUInt32BE(value >>> 0, this.#length)
  }

  u48(value: number): void {
    this.#ensure(6)
    putU48(this.#buffer, this.#length, value)
    this.#length += 6
  }

  varint(value: number): void {
    this.#ensure(8)
    let rest = value
    while (rest > 0x7f) {
      this.#buffer[this.#length++] = (rest % 0x80) | 0x80
      rest = Math.floor(rest / 0x80)
    }
    this.#buffer[this.#length++] = rest
  }

  /** Length as varint, then UTF-8. */
  text(value: string): void {
    const { length } = value
    if (length > loopTextMax || !this.#shortText(value, length)) this.#longText(value)
  }

  /** Length as varint, then the bytes. Returns where they start. */
  blob(value: Uint8Array): number {
    this.varint(value.length)
    return this.raw(value)
  }

  raw(value: Uint8Array): number {
    this.#ensure(value.length)
    const start = this.#length
    this.#buffer.set(value, start)
    this.#length = start + value.length
    return start
  }

  /** Writes text of ASCII alone; false, and nothing written, when it is not. */
  #shortText(value: string, length: number): boolean {
    this.#ensure(length + 1)
    const buffer = this.#buffer
    let at = this.#length
    buffer[at++] = length
    for (let index = 0; index < length; index++) {
      const code = value.charCodeAt(index)
      if (code > 0x7f) return false
      buffer[at++] = code
    }
    this.#length = at
    return true
  }

  #longText(value: string): void {
    const bytes = Buffer.byteLength(value)
    this.varint(bytes)
    this.#ensure(bytes)
    this.#length += this.#buffer.write(value, this.#length, bytes, 'utf8')
  }

  #ensure(more: number): void {
    const needed = this.#length + more
    if (needed <= this.#buffer.length) return
    const grown = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2))
    grown.set(this.#buffer.subarray(0, this.#length))
    this.#buffer = grown
  }
}

/** Reads what ByteWriter wrote. Throws RangeError at the end of the bytes. */
export class ByteReader {
  readonly buffer: Buffer
  position: number

  constructor(buffer: Buffer, position = 0) {
    this.buffer = buffer
    this.position = position
  }

  get atEnd(): boolean {
    return this.position >= this.buffer.length
  }

  u8(): number {
    const value = this.buffer[this.position]
    if (value === undefined) throw new RangeError('bytes end early')
    this.position += 1
    return value
  }

  u16(): number {
    return this.u8() * 0x100 + this.u8()
  }

  u32(): number {
    const value = this.buffer.readUInt32BE(this.position)
    this.position += 4
    return value
  }

  u48(): number {
    const value = this.buffer.readUIntBE(this.position, 6)
    this.position += 6
    return value
  }

  varint(): number {
    let value = 0
    let scale = 1
    for (let count = 0; count < 8; count++) {
      const byte = this.u8()
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
      scale *= 0x80
    }
    throw new RangeError('varint longer than 8 bytes')
  }

  text(): string {
    const end = this.#end(this.varint())
    const value = this.buffer.toString('utf8', this.position, end)
    this.position = end
    return value
  }

  /** A view into the buffer, not a copy. */
  blob(): Buffer {
    return this.raw(this.varint())
  }

  raw(length: number): Buffer {
    const end = this.#end(length)
    const value = this.buffer.subarray(this.position, end)
    this.position = end
    return value
  }

  skip(length: number): void {
    this.position = this.#end(length)
  }

  #end(length: number): number {
    const end = this.position + length
    if (end > this.buffer.length) throw new RangeError('bytes end early')
    return end
  }
}

/** Bytes that `varint` takes for a value. */
export function varintBytes(value: number): number {
  let bytes = 1
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 0x80)) bytes++
  return bytes
}

export function putU48(buffer: Buffer, at: number, value: number): void {
  const high = Math.floor(value / 0x1_0000_0000)
  buffer[at] = high >>> 8
  buffer[at + 1] = high
  buffer[at + 2] = value >>> 24
  buffer[at + 3] = value >>> 16
  buffer[at + 4] = value >>> 8
  buffer[at + 5] = value
}
