/**
 * Encodes what the data plane sends: PUBLISH and acknowledgements.
 *
 * Live delivery encodes a message once for each QoS into one scratch buffer, and every receiver's connection copies
 * that and puts its own packet id in place; a large payload is never copied but passed by reference.
 */
import type { Qos } from '#store/record.ts'
import { packetType } from './packet-check.ts'

/** Payloads above this are written by reference instead of being copied. */
export const copyMaxBytes = 2_048
const headMaxBytes = 1 + 4 + 2 + 65_535 + 2

/** A PUBLISH of which only the packet id is missing. Valid until the encoder's next call. */
export interface EncodedPublish {
  /** Packet bytes [0, length): the whole packet, or all but the payload when `payload` is given. */
  readonly bytes: Buffer
  readonly length: number
  /** Where the packet id stands in `bytes`; -1 for QoS 0. */
  readonly packetIdAt: number
  readonly payload: Buffer | undefined
}

export class PublishEncoder {
  #scratch = Buffer.allocUnsafeSlow(8 * 1024)
  readonly #encoded: { -readonly [K in keyof EncodedPublish]: EncodedPublish[K] } = {
    bytes: this.#scratch,
    length: 0,
    packetIdAt: -1,
    payload: undefined,
  }

  /** `topic` is the topic's UTF-8. */
  encode(topic: Buffer, payload: Buffer, qos: Qos, retain: boolean): EncodedPublish {
    const byReference = payload.length > copyMaxBytes
    const room = 9 + topic.length + (byReference ? 0 : payload.length)
    if (this.#scratch.length < room) {
      this.#scratch = Buffer.allocUnsafeSlow(headMaxBytes + copyMaxBytes)
      this.#encoded.bytes = this.#scratch
    }
    const scratch = this.#scratch
    scratch[0] = (packetType.publish << 4) | (qos << 1) | (retain ? 1 : 0)
    let at = writeLength(scratch, 1, 2 + topic.length + (qos === 0 ? 0 : 2) + payload.length)
    scratch[at] = topic.length >> 8
    scratch[at + 1] = topic.length & 255
    at += 2
    topic.copy(scratch, at)
    at += topic.length
    this.#encoded.packetIdAt = qos === 0 ? -1 : at
    if (qos !== 0) at += 2
    if (!byReference) {
      payload.copy(scratch, at)
      at += payload.length
    }
    this.#encoded.length = at
    this.#encoded.payload = byReference ? payload : undefined
    return this.#encoded
  }
}

/** Writes a remaining length (MQTT 3.1.1 section 2.2.3) and returns where it ends. */
function writeLength(buffer: Buffer, from: number, length: number): number {
  let at = from
  let rest = length
  do {
    const digit = rest & 127
    rest >>>= 7
    buffer[at++] = rest > 0 ? digit | 128 : digit
  } while (rest > 0)
  return at
}

/** First byte of an acknowledgement; PUBREL has flags 0010 [MQTT-3.6.1-1]. */
export function ackHeader(type: number): number {
  return (type << 4) | (type === packetType.pubrel ? 2 : 0)
}
