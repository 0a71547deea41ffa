/**
 * The text of packets: UTF-8 as MQTT 3.1.1 section 1.5.3 demands it, and topics decoded once.
 *
 * Refused: bytes that are not UTF-8 or encode surrogates [MQTT-1.5.3-1], U+0000 [MQTT-1.5.3-2], and, as the same
 * section allows, control characters and non-characters. A leading U+FEFF is kept [MQTT-1.5.3-3].
 */
import { isUtf8 } from 'node:buffer'
import { FescueError } from '#base/errors.ts'
import { problemOfTopic } from '#base/topics.ts'

export function malformed(reason: string): FescueError {
  return new FescueError('FESCUE_PACKET_MALFORMED', reason)
}

/** A control character (Cc, DEL and U+0000 among them) or a code point that Unicode keeps for no character. */
const refused = /[\p{Cc}\p{Noncharacter_Code_Point}]/u

/** Decodes [from, to). Errors: FESCUE_PACKET_MALFORMED, naming the field. */
export function decodeText(buffer: Buffer, from: number, to: number, field: string): string {
  if (isPlain(buffer, from, to)) return buffer.toString('latin1', from, to)
  if (!isUtf8(buffer.subarray(from, to))) throw malformed(`${field} is not UTF-8 [MQTT-1.5.3-1]`)
  const text = buffer.toString('utf8', from, to)
  if (refused.test(text)) throw malformed(`${field} holds a control or non-character [MQTT-1.5.3-2]`)
  return text
}

/** Printable ASCII alone: nothing to check and nothing to decode. */
function isPlain(buffer: Buffer, from: number, to: number): boolean {
  for (let i = from; i < to; i++) {
    const byte = buffer[i] ?? 0
    if (byte < 0x20 || byte > 0x7e) return false
  }
  return true
}

interface KnownTopic {
  readonly bytes: Buffer
  readonly topic: string
}

/** Topics that are remembered by their bytes; a power of two. */
const knownTopicsMax = 2_048
/** Longer topics are decoded each time. */
const knownTopicMaxBytes = 128

/**
 * Decodes and checks the topics of PUBLISH packets. Devices send few topics again and again, so one that was seen
 * lately is found by its bytes: no decoding, no check, and always the same string, whose hash is known.
 */
export class TopicReader {
  readonly #known: (KnownTopic | undefined)[] = new Array(knownTopicsMax)

  /** Errors: FESCUE_PACKET_MALFORMED. */
  read(buffer: Buffer, from: number, to: number): string {
    if (to - from > knownTopicMaxBytes) return decodeTopic(buffer, from, to)
    let hash = to - from
    for (let i = from; i < to; i++) hash = Math.imul(hash ^ (buffer[i] ?? 0), 0x01000193)
    const slot = (hash ^ (hash >>> 15)) & (knownTopicsMax - 1)
    const known = this.#known[slot]
    if (known !== undefined && sameBytes(known.bytes, buffer, from, to)) return known.topic
    const topic = decodeTopic(buffer, from, to)
    this.#known[slot] = { bytes: Buffer.from(buffer.subarray(from, to)), topic }
    return topic
  }
}

function sameBytes(bytes: Buffer, buffer: Buffer, from: number, to: number): boolean {
  if (bytes.length !== to - from) return false
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== buffer[from + i]) return false
  return true
}

function decodeTopic(buffer: Buffer, from: number, to: number): string {
  const topic = decodeText(buffer, from, to, 'topic')
  const problem = problemOfTopic(topic)
  if (problem !== undefined) throw malformed(`topic ${problem}`)
  if (topic.startsWith('$SYS/')) throw malformed('topic $SYS/… is the broker’s own: publish elsewhere')
  return topic
}
