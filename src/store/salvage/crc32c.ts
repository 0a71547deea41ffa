/**
 * LevelDB's checksum, CRC-32C in its masked form, and what it is good for beyond telling damage: the difference
 * between the checksum stored and the one computed says which bit was flipped.
 *
 * CRC-32C has a Hamming distance of 4 at the lengths met here: one flipped bit is always found, two are never
 * taken for one. Damage of more bits is taken for one flipped bit with a chance of bits / 2^32 (a block of 4 KB:
 * 1 in 130,000); the checksums of the store's own values see that.
 */

const polynomial = 0x82f63b78
/** Four tables, one after the other: the effect of a byte followed by none, one, two and three others. */
const table = buildTable()

function buildTable(): Int32Array {
  const built = new Int32Array(4 * 256)
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ polynomial : crc >>> 1
    built[byte] = crc
  }
  for (let index = 256; index < built.length; index++) {
    const before = built[index - 256] ?? 0
    built[index] = (before >>> 8) ^ (built[before & 255] ?? 0)
  }
  return built
}

/** One byte more; `state` is the checksum's complement while it is being computed, -1 at the start. */
export function step(state: number, byte: number): number {
  return (state >>> 8) ^ (table[(state ^ byte) & 255] ?? 0)
}

export function crc32c(bytes: Uint8Array): number {
  let state = -1
  let at = 0
  for (const end = bytes.length - 3; at < end; at += 4) {
    state ^=
      (bytes[at] ?? 0) |
      ((bytes[at + 1] ?? 0) << 8) |
      ((bytes[at + 2] ?? 0) << 16) |
      ((bytes[at + 3] ?? 0) << 24)
    state =
      (table[768 + (state & 255)] ?? 0) ^
      (table[512 + ((state >>> 8) & 255)] ?? 0) ^
      (table[256 + ((state >>> 16) & 255)] ?? 0) ^
      (table[state >>> 24] ?? 0)
  }
  for (; at < bytes.length; at++) state = step(state, bytes[at] ?? 0)
  return ~state >>> 0
}

/** The checksum of what LevelDB stored in masked form. */
export function unmask(stored: number): number {
  const rotated = (stored - 0xa282ead8) >>> 0
  return ((rotated >>> 17) | (rotated << 15)) >>> 0
}

/** A bit that was flipped: which byte, counted from the first that the checksum covers, and which bit of it. */
export interface Flip {
  readonly at: number
  readonly mask: number
}

export type Check =
  | { readonly kind: 'whole' }
  | { readonly kind: 'flipped'; readonly flip: Flip }
  /** The bytes are right, the checksum itself has a flipped bit (byte 0 to 3 of it). */
  | { readonly kind: 'checksum-flipped'; readonly flip: Flip }
  | { readonly kind: 'damaged' }

/** Holds bytes against their stored checksum. */
export function check(bytes: Uint8Array, stored: number): Check {
  const actual = crc32c(bytes)
  const difference = actual ^ unmask(stored)
  if (difference === 0) return { kind: 'whole' }
  for (let bit = 0; bit < 32; bit++) {
    if (unmask((stored ^ (1 << bit)) >>> 0) === actual) {
      return { kind: 'checksum-flipped', flip: { at: bit >>> 3, mask: 1 << (bit & 7) } }
    }
  }
  const flip = findFlip(bytes.length, difference)
  return flip === undefined ? { kind: 'damaged' } : { kind: 'flipped', flip }
}

/** From the last byte to the first: what each of its bits changes in the checksum. */
function findFlip(length: number, difference: number): Flip | undefined {
  const effects = Int32Array.from({ length: 8 }, (_, bit) => table[1 << bit] ?? 0)
  for (let at = length - 1; at >= 0; at--) {
    for (let bit = 0; bit < 8; bit++) {
      const effect = effects[bit] ?? 0
      if (effect === difference) return { at, mask: 1 << bit }
      effects[bit] = step(effect, 0)
    }
  }
  return undefined
}
