/**
 * What a broker's reason codes mean for a link: who is wrong (credentials, one record, nobody) decides whether it
 * is tried again, slowly, or without that record. MQTT 5.0 section 2.4; MQTT 3.1.1 section 3.2.2.3 for CONNACK.
 */
import { ReasonCodes } from 'mqtt'
import type { SendOutcome } from './connector.ts'

export type Failure = Exclude<SendOutcome, { readonly type: 'acknowledged' }>

/** No Matching Subscribers: taken, and nobody listens. */
const noSubscribers = 0x10
const packetTooLarge = 0x95
/** The protocol version is not known: 3.1.1 says 1, 5 says 0x84. */
const versionCodes: ReadonlySet<number> = new Set([0x01, 0x84])
/** CONNACK and DISCONNECT: nothing gets better by trying again soon. 2 to 5 are those of 3.1.1, but for 3. */
const refusals: ReadonlySet<number> = new Set([
  0x02, 0x04, 0x05, 0x85, 0x86, 0x87, 0x8a, 0x8c, 0x8e, 0x95, 0x9a, 0x9b, 0x9c, 0x9d,
])
/** PUBACK and DISCONNECT: the record itself is not taken, or its topic is not ours to publish to. */
const recordCodes: ReadonlySet<number> = new Set([0x80, 0x83, 0x87, 0x90, packetTooLarge, 0x99])

/**
 * A PUBACK with a reason that is none of MQTT's, for the first record that waits: mosquitto 2.0 says 0x95 (too
 * large) so, and MQTT.js parses no further.
 */
export const unknownRefusal: Failure = {
  type: 'rejected',
  why: 'invalid',
  reason: 'the broker refuses the message with a reason that MQTT does not know: is it too large?',
}

export function isUnknownVersion(code: number): boolean {
  return versionCodes.has(code)
}

/** A CONNACK that is not 0. */
export function connectFailure(code: number): Failure {
  const reason = `the broker refuses the connection: ${reasonText(code)}`
  return { type: refusals.has(code) || isUnknownVersion(code) ? 'refused' : 'retryable', reason }
}

/** A DISCONNECT of the broker while `waiting` records were not acknowledged yet; it may be about the first of them. */
export function disconnectFailure(code: number, waiting: number): Failure {
  const reason = `the broker closed the connection: ${reasonText(code)}`
  if (waiting > 0 && recordCodes.has(code)) return { type: 'rejected', reason, why: whyOf(code) }
  return { type: refusals.has(code) ? 'refused' : 'retryable', reason }
}

/** A PUBACK: undefined when the record was taken. */
export function publishFailure(code: number): Failure | undefined {
  if (code === 0 || code === noSubscribers) return undefined
  const reason = `the broker refuses the message: ${reasonText(code)}`
  return recordCodes.has(code)
    ? { type: 'rejected', reason, why: whyOf(code) }
    : { type: 'retryable', reason }
}

/** The failure where there is no record to blame. */
export function withoutRecord(failure: Failure): Exclude<Failure, { readonly type: 'rejected' }> {
  return failure.type === 'rejected' ? { type: 'retryable', reason: failure.reason } : failure
}

export function reasonText(code: number): string {
  const texts: Readonly<Record<number, string>> = ReasonCodes
  return `${texts[code] ?? 'unknown reason'} (0x${code.toString(16).padStart(2, '0')})`
}

function whyOf(code: number): 'invalid' | 'too-large' {
  return code === packetTooLarge ? 'too-large' : 'invalid'
}
