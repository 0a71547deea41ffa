/** A PUBLISH as aedes passes it to its persistence, to and from a record. */
import type { Qos, RecordInput } from '#store/record.ts'

export interface AedesPacket {
  readonly cmd?: string
  readonly topic?: string
  readonly payload?: Buffer | string
  readonly qos?: Qos
  readonly retain?: boolean
  readonly dup?: boolean
  readonly brokerId?: string | undefined
  readonly brokerCounter?: number | undefined
  readonly messageId?: number | undefined
  readonly id?: string
}

/** Which broker made the packet and as its how many-th. */
export interface BrokerMark {
  readonly brokerId?: string
  readonly brokerCounter?: number
}

/** Kept in the record's `extra`. */
interface Extra extends BrokerMark {
  /** The payload was a string. */
  readonly text?: true
  /** aedes's own field of a retained packet. */
  readonly id?: string
  /** It had no `dup`. */
  readonly plain?: true
}

export function toRecordInput(packet: AedesPacket, time: number): RecordInput {
  const { topic = '', payload = '', qos = 0, retain = false, brokerId, brokerCounter, id, dup } = packet
  const extra: { -readonly [K in keyof Extra]: Extra[K] } = {}
  if (brokerId !== undefined) extra.brokerId = brokerId
  if (brokerCounter !== undefined) extra.brokerCounter = brokerCounter
  if (id !== undefined) extra.id = id
  if (dup === undefined) extra.plain = true
  if (typeof payload === 'string') extra.text = true
  const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload
  return { time, topic, payload: bytes, qos, retain, extra: JSON.stringify(extra) }
}

export function toPacket(record: RecordInput): AedesPacket {
  const { topic, payload, qos, retain = false } = record
  const { text, plain, ...mark } = extraOf(record)
  const packet = { cmd: 'publish', topic, payload: text ? payload.toString() : payload, qos, retain, ...mark }
  return plain ? packet : { ...packet, dup: false }
}

export function brokerMark(record: RecordInput): BrokerMark {
  return extraOf(record)
}

function extraOf({ extra }: RecordInput): Extra {
  return extra === undefined ? {} : (JSON.parse(extra) as Extra)
}
