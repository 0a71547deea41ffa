/** The packets that a session's pump sends, as bytes (MQTT 3.1.1 sections 3.3 and 3.6). */
import type { RecordInput } from '#store/record.ts'

/** PUBLISH of a record with QoS 1 or 2. */
export function encodePublish(record: RecordInput, packetId: number, dup: boolean): Buffer {
  const { topic, payload } = record
  const topicBytes = Buffer.byteLength(topic)
  const remaining = 2 + topicBytes + 2 + payload.length
  const head = 1 + lengthBytes(remaining)
  const packet = Buffer.allocUnsafe(head + remaining)
  packet[0] = 0x30 | (dup ? 8 : 0) | (record.qos << 1) | (record.retain === true ? 1 : 0)
  writeLength(packet, remaining)
  packet.writeUInt16BE(topicBytes, head)
  packet.write(topic, head + 2)
  packet.writeUInt16BE(packetId, head + 2 + topicBytes)
  payload.copy(packet, head + 4 + topicBytes)
  return packet
}

export function encodePubrel(packetId: number): Buffer {
  return Buffer.of(0x62, 2, packetId >> 8, packetId & 255)
}

/** Bytes of a remaining length (section 2.2.3). */
function lengthBytes(length: number): number {
  if (length < 0x80) return 1
  if (length < 0x4000) return 2
  return length < 0x20_0000 ? 3 : 4
}

function writeLength(packet: Buffer, length: number): void {
  let left = length
  let at = 1
  do {
    const low = left & 127
    left >>>= 7
    packet[at++] = left > 0 ? low | 128 : low
  } while (left > 0)
}
