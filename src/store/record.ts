/**
 * A record: one message as a commit log keeps it.
 *
 * The codec that turns it into bytes is `record-codec.ts`; a block of them is `block.ts`.
 */
import type { Epoch, Offset } from '#base/ids.ts'

export type Qos = 0 | 1 | 2

/** What may be written to a log. Absent fields take no bytes. */
export interface RecordInput {
  /** Milliseconds since the epoch when the message was accepted. */
  readonly time: number
  readonly topic: string
  readonly payload: Buffer
  readonly qos: Qos
  readonly retain?: boolean
  /** How many functions the message has passed (loop detection). */
  readonly hops?: number
  /** Who published it: `mqtt:CLIENT`, `function:NAME`, `http`, `schedule:NAME`, `will:CLIENT`, `downlink:NAME`. */
  readonly origin?: string
  /** Order key; the topic when absent. */
  readonly key?: string
  /** Milliseconds since the epoch after which nobody wants it. */
  readonly expiresAt?: number
  /** 0 (least) to 9. */
  readonly priority?: number
  /** Equal in all logs that hold a copy of one message (`fescuemsgid`). */
  readonly messageId?: string
  /** W3C traceparent. */
  readonly trace?: string
  readonly contentType?: string
  /** `log.incarnation/offset` of the dead letter that this record retries. */
  readonly retryOf?: string
  /** Further fields as JSON (a dead letter's error, a schedule's name). */
  readonly extra?: string
}

/** A record as read from a log: with the identity that it was given at append. */
export interface LogRecord extends RecordInput {
  readonly offset: Offset
  readonly epoch: Epoch
}
