/**
 * Decodes the packets of the data plane, PUBLISH and the four acknowledgements, straight from the socket's
 * buffer. What MQTT 3.1.1 says MUST be refused throws FESCUE_PACKET_MALFORMED.
 */
import type { Qos } from '#store/record.ts'
import { malformed, type TopicReader } from './packet-text.ts'

/** A PUBLISH as it lies in a buffer; the payload is not copied. */
export interface Publish {
  readonly topic: string
  readonly qos: Qos
  readonly retain: boolean
  readonly dup: boolean
  /** 0 when QoS is 0. */
  readonly packetId: number
  readonly buffer: Buffer
  readonly topicFrom: number
  readonly topicTo: number
  readonly payloadFrom: number
  readonly payloadTo: number
}

export function readPublish(
  topics: TopicReader,
  buffer: Buffer,
  start: number,
  body: number,
  end: number,
): Publish {
  const first = buffer[start] ?? 0
  const qos = (first >> 1) & 3
  if (qos === 3) throw malformed('PUBLISH with QoS 3 [MQTT-3.3.1-4]')
  const dup = (first & 8) !== 0
  if (dup && qos === 0) throw malformed('DUP in a PUBLISH of QoS 0 [MQTT-3.3.1-2]')
  const topicFrom = body + 2
  const topicTo = topicFrom + word(buffer, body)
  const payloadFrom = qos === 0 ? topicTo : topicTo + 2
  if (topicFrom > end || payloadFrom > end) throw malformed('a field passes the end of the PUBLISH')
  const topic = topics.read(buffer, topicFrom, topicTo)
  const packetId = qos === 0 ? 0 : word(buffer, topicTo)
  if (qos !== 0 && packetId === 0) throw malformed('PUBLISH with packet id 0 [MQTT-2.3.1-1]')
  return {
    topic,
    qos: qos as Qos,
    retain: (first & 1) !== 0,
    dup,
    packetId,
    buffer,
    topicFrom,
    topicTo,
    payloadFrom,
    payloadTo: end,
  }
}

/** The packet id of PUBACK, PUBREC, PUBREL or PUBCOMP. */
export function readPacketId(buffer: Buffer, body: number, end: number): number {
  if (end - body !== 2) throw malformed(`an acknowledgement with a body of ${end - body} bytes`)
  const id = word(buffer, body)
  if (id === 0) throw malformed('packet id 0 [MQTT-2.3.1-1]')
  return id
}

function word(buffer: Buffer, at: number): number {
  return ((buffer[at] ?? 0) << 8) | (buffer[at + 1] ?? 0)
}
