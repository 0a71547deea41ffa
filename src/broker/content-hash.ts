/**
 * A 64-bit hash of a PUBLISH's topic and payload: tells a resend from a new message that took the same packet id.
 *
 * It is stored with a session, so it must never change. It guards against confusion, not against an attacker:
 * a client that makes two of its own messages collide loses only its own.
 */
const prime1 = 0x9e3779b1
const prime2 = 0x85ebca77

/** Hashes the topic in [topicFrom, topicTo) and the payload in [payloadFrom, payloadTo) of a packet. */
export function contentHash(
  buffer: Buffer,
  topicFrom: number,
  topicTo: number,
  payloadFrom: number,
  payloadTo: number,
): bigint {
  let high = Math.imul(topicTo - topicFrom, prime1) ^ prime2
  let low = Math.imul(payloadTo - payloadFrom, prime2) ^ prime1
  for (let part = 0; part < 2; part++) {
    const to = part === 0 ? topicTo : payloadTo
    let i = part === 0 ? topicFrom : payloadFrom
    for (; i + 4 <= to; i += 4) {
      const word =
        (buffer[i] ?? 0) |
        ((buffer[i + 1] ?? 0) << 8) |
        ((buffer[i + 2] ?? 0) << 16) |
        ((buffer[i + 3] ?? 0) << 24)
      high = rotated(Math.imul(high ^ word, prime1), 15)
      low = rotated(Math.imul(low + word, prime2), 13)
    }
    for (; i < to; i++) {
      high = rotated(Math.imul(high ^ (buffer[i] ?? 0), prime1), 11)
      low = rotated(Math.imul(low + (buffer[i] ?? 0), prime2), 17)
    }
  }
  return (BigInt(finished(high ^ (low >>> 7))) << 32n) | BigInt(finished(low + high))
}

function rotated(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits))
}

/** Spreads each input bit over all 32 (the finaliser of MurmurHash3, public domain). */
function finished(value: number): number {
  let mixed = value
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return (mixed ^ (mixed >>> 16)) >>> 0
}
