/**
 * A durable consumer: something that keeps its own copy of each matching message in a commit log. Function
 * triggers, persistent MQTT sessions, uplink routes and streams are all this and nothing more.
 */
import type { CommitLog } from '#store/commit-log.ts'
import type { Qos, RecordInput } from '#store/record.ts'
import type { Message } from './message.ts'

export interface DurableConsumer {
  /** Unique: `function:NAME`, `session:CLIENT`, `route:NAME`. */
  readonly id: string
  /** Where a message goes now; a route with lanes may change its answer. */
  readonly log: CommitLog
  /**
   * The record to append, or undefined when the consumer does not want this message. `qos` is the highest
   * among the consumer's matching subscriptions. `messageId()` is the same for all consumers of a message.
   */
  record(message: Message, qos: Qos, messageId: () => string): RecordInput | undefined
}

/** A consumer as one topic matched it: once, with the highest QoS of its matching filters. */
export interface MatchedConsumer {
  readonly consumer: DurableConsumer
  readonly qos: Qos
}
