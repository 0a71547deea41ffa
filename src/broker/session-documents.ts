/**
 * How a persistent session lies in the store: names, keys and the text of its documents.
 *
 *   space          key                     value
 *   session        ID                      JSON { clientId, epoch, sentTo, disconnectedAt? }
 *   subscription   ID/FILTER               JSON { qos, options? }
 *   inbound        ID/PACKETID             a QoS 2 id received and not released (`inbound-ids.ts`)
 *   resend         ID/PAGE                 QoS 1 ids and content hashes (`resend-table.ts`)
 *   log session.ID with the checkpoints `done` and `received`
 *
 * ID is a hash of the client id: of one length, so that no key is a prefix of another client's, and free of
 * the characters that a client id may hold and a log's name may not.
 */
import { createHash } from 'node:crypto'
import type { Epoch, Offset } from '#base/ids.ts'
import type { SubscriptionEntry, SubscriptionOptions } from './session.ts'

export const sessionSpace = 'session'
export const subscriptionSpace = 'subscription'
export const inboundSpace = 'inbound'
export const resendSpace = 'resend'
export const sessionLogPrefix = 'session.'
/** Consumer of the session's log: what the client acknowledged. */
export const doneConsumer = 'done'
/** Consumer of the session's log: QoS 2 messages whose PUBREC has come. */
export const receivedConsumer = 'received'

/** What is stored of a session beside its subscriptions. */
export interface SessionDocument {
  readonly clientId: string
  /** Epoch in which the document was written: in another one, what was sent since is unknown. */
  readonly epoch: Epoch
  /** Offsets below may have been sent: written ahead while connected, exact after. */
  readonly sentTo: Offset
  /** Milliseconds since the epoch; absent while connected. */
  readonly disconnectedAt?: number
}

/** 22 characters: 128 bits of the client id's SHA-256 in base64url. */
export function sessionKey(clientId: string): string {
  return createHash('sha256').update(clientId).digest('base64url').slice(0, 22)
}

export function encodeSession(document: SessionDocument): Buffer {
  return Buffer.from(JSON.stringify(document))
}

export function decodeSession(value: Buffer): SessionDocument {
  return JSON.parse(value.toString()) as SessionDocument
}

export function encodeSubscription({ qos, options }: SubscriptionEntry): Buffer {
  return Buffer.from(JSON.stringify(options === undefined ? { qos } : { qos, options }))
}

/** The key's session and the entry. */
export function decodeSubscription(
  key: string,
  value: Buffer,
): { session: string; entry: SubscriptionEntry } {
  const { qos, options } = JSON.parse(value.toString()) as Stored
  const filter = key.slice(23)
  return {
    session: key.slice(0, 22),
    entry: options === undefined ? { filter, qos } : { filter, qos, options },
  }
}

interface Stored {
  readonly qos: SubscriptionEntry['qos']
  readonly options?: SubscriptionOptions
}
