/** A route as the router sees it: a durable consumer whose log is the outbox of the route. */
import type { DurableConsumer } from '#router/consumer.ts'
import { type Message, toRecord } from '#router/message.ts'
import type { CommitLog } from '#store/commit-log.ts'
import type { Qos, RecordInput } from '#store/record.ts'

export interface RouteOptions {
  readonly name: string
  /** The uplink; what came down from it does not go up to it again. */
  readonly to: string
  readonly log: CommitLog
  readonly priority: number
  readonly ttlMs: number | undefined
}

export class Route implements DurableConsumer {
  readonly id: string
  readonly log: CommitLog
  readonly #options: RouteOptions

  constructor(options: RouteOptions) {
    this.id = `route:${options.name}`
    this.log = options.log
    this.#options = options
  }

  /** The message with its own QoS, an id equal in all routes, and the earlier of its own and the route's expiry. */
  record(message: Message, _qos: Qos, messageId: () => string): RecordInput | undefined {
    const { to, ttlMs } = this.#options
    const { origin } = message
    if (origin.kind === 'downlink' && origin.name === to) return undefined
    const record = toRecord(message, message.qos, messageId())
    if (ttlMs === undefined) return record
    const expiresAt = Math.min(message.time + ttlMs, message.expiresAt ?? Number.POSITIVE_INFINITY)
    return { ...record, expiresAt }
  }
}
