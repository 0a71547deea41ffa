/**
 * What a link needs of a protocol: encode a batch, send it, say what became of it, tell the receiver's numbers.
 *
 * Outcomes are data: the link's loop decides about retry, backoff and splitting in one place. A connector holds
 * no queue and sends one batch at a time; order is the link's concern.
 */
import type { Epoch, Offset } from '#base/ids.ts'
import type { LogRecord } from '#store/record.ts'

/** Records of one log in offset order; they leave together. */
export interface OutgoingBatch {
  /** `log.incarnation`. */
  readonly log: string
  readonly kind: 'message' | 'loss'
  readonly records: readonly LogRecord[]
  /** The offset that the receiver should expect: below the first record's when some are gone. */
  readonly from: Offset
  /** One above the last record's. */
  readonly to: Offset
  /** Epoch of the record before the first; undefined when the receiver does not know it. */
  readonly after: Epoch | undefined
  /** Payload and envelope bytes. */
  readonly bytes: number
}

/** A batch as it goes over the wire. */
export interface EncodedBatch {
  readonly batch: OutgoingBatch
  /** Bytes that the link must carry for it. */
  readonly bytes: number
  /** Empty when the connector encodes record by record as it sends. */
  readonly body: Buffer
}

/** Records of a batch by index: [from, to). */
export interface IndexRange {
  readonly from: number
  readonly to: number
}

export type SendOutcome =
  | { readonly type: 'acknowledged' }
  /** Nothing is known about the batch; send it again after a while. */
  | { readonly type: 'retryable'; readonly reason: string; readonly retryAfterMs?: number }
  /** As `retryable`, and no byte came back in time: the batch may be too large for the link. */
  | { readonly type: 'timeout'; readonly reason: string }
  /** Credentials or address are wrong: no record can get through. */
  | { readonly type: 'refused'; readonly reason: string }
  /** Something in the batch is not taken; `too-large` when it is its size. `suspects`: one of these, else of all. */
  | {
      readonly type: 'rejected'
      readonly reason: string
      readonly why: 'invalid' | 'too-large'
      readonly suspects?: IndexRange
    }

/** The next offset that the receiver expects of one epoch of one log. */
export interface ReceiverNumber {
  /** `log.incarnation`. */
  readonly log: string
  readonly epoch: Epoch
  readonly next: Offset
  /** Message id of record `next` - 1, when the receiver tells it. */
  readonly lastMessageId: string | undefined
  /** Epochs that began after this one, and at which offset, as far as the receiver knows. */
  readonly followers: readonly { readonly epoch: Epoch; readonly at: Offset }[]
}

export type NumbersOutcome =
  | { readonly type: 'numbers'; readonly numbers: readonly ReceiverNumber[] }
  /** The receiver keeps no numbers: delivery is at least once. */
  | { readonly type: 'unsupported' }
  | Exclude<SendOutcome, { readonly type: 'acknowledged' | 'rejected' }>

export interface SendOptions {
  readonly signal: AbortSignal
  /** Without an answer within this time the outcome is `timeout`. */
  readonly timeoutMs: number
  /** For a protocol that acknowledges each record: the first `records` of the batch are done. */
  readonly progress?: (records: number) => void
}

export interface Connector {
  encode(batch: OutgoingBatch): EncodedBatch
  /** Never rejects. */
  send(encoded: EncodedBatch, options: SendOptions): Promise<SendOutcome>
  /** Asks for the receiver's numbers of these logs and epochs; also what a link probes with. Never rejects. */
  numbers(logs: readonly string[], epochs: readonly Epoch[], options: SendOptions): Promise<NumbersOutcome>
  /** Drops the connections; the next call opens new ones, with certificates read anew. */
  reset(): void
  close(): void
  /** For a protocol with a standing connection: why it is gone, until `reset`. */
  readonly lost?: string | undefined
  /** Calls when the connection is gone. */
  onLost?(listener: () => void): void
}
