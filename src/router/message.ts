/** A message on its way through the router, and who brought it. */
import type { Qos, RecordInput } from '#store/record.ts'

/** Who published a message. Its text (`originText`) is what records and logs carry. */
export type Origin =
  | { readonly kind: 'mqtt'; readonly client: string }
  | { readonly kind: 'will'; readonly client: string }
  | { readonly kind: 'function'; readonly name: string }
  | { readonly kind: 'http' }
  | { readonly kind: 'schedule'; readonly name: string }
  | { readonly kind: 'downlink'; readonly name: string }

/** Passages through functions and downlinks after which a message is taken to go round in circles. */
export const hopsMax = 16

export interface Message {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: Qos
  readonly retain: boolean
  /** Milliseconds since the epoch when it was accepted. */
  readonly time: number
  readonly origin: Origin
  /** Functions and downlinks that the message has passed; 0 from outside. At most `hopsMax`. */
  readonly hops: number
  readonly expiresAt?: number
  readonly contentType?: string
  readonly trace?: string
}

export function originText(origin: Origin): string {
  switch (origin.kind) {
    case 'mqtt':
    case 'will':
      return `${origin.kind}:${origin.client}`
    case 'http':
      return 'http'
    default:
      return `${origin.kind}:${origin.name}`
  }
}

/** Whether the origin can be held back while a log with overflow `block` is full. */
export function canWait(message: Message): boolean {
  const { kind } = message.origin
  return message.qos > 0 && (kind === 'mqtt' || kind === 'http' || kind === 'downlink')
}

/** The record of a message; `messageId` is given when the message leaves by a route. */
export function toRecord(message: Message, qos: Qos = message.qos, messageId?: string): RecordInput {
  const record: { -readonly [K in keyof RecordInput]: RecordInput[K] } = {
    time: message.time,
    topic: message.topic,
    payload: message.payload,
    qos,
    origin: originText(message.origin),
  }
  if (message.retain) record.retain = true
  if (message.hops > 0) record.hops = message.hops
  if (message.expiresAt !== undefined) record.expiresAt = message.expiresAt
  if (message.contentType !== undefined) record.contentType = message.contentType
  if (message.trace !== undefined) record.trace = message.trace
  if (messageId !== undefined) record.messageId = messageId
  return record
}
