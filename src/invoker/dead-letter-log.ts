/**
 * The dead letters of one function: log `dead.NAME`, one record for each message whose attempts are spent.
 *
 *   record = the input (topic, payload, QoS, time, origin) + extra: why, and what is needed to replay it elsewhere
 *
 * A dead letter is appended in the batch that advances the inbox's checkpoint (D2). How one is taken out again
 * (retry, drop): `store/set-aside-log.ts`.
 */
import type { InvocationId, Offset } from '#base/ids.ts'
import type { ErrorDocument } from '#sandbox/sandbox.ts'
import type { CommitLog } from '#store/commit-log.ts'
import type { LogRecord, RecordInput } from '#store/record.ts'
import { SetAsideLog } from '#store/set-aside-log.ts'
import type { Store } from '#store/store.ts'
import type { Transaction } from '#store/transaction.ts'

/** Why a message died: the JSON in `extra` of its record. */
export interface DeathCause {
  readonly error: ErrorDocument
  readonly attempts: number
  readonly revision: string
  readonly invocationId: InvocationId
  /** `log.incarnation/offset` of the input. */
  readonly source: string
  readonly epoch: string
  /** Milliseconds since the epoch. */
  readonly diedAt: number
  /** The state most recently used when it died: JSON texts by key, at most `stateSeenMaxChars`. */
  readonly state: Readonly<Record<string, string>>
}

export interface DeadLetter extends DeathCause {
  readonly function: string
  readonly offset: Offset
  readonly topic: string
  readonly payload: Buffer
  readonly qos: number
  /** When the message was accepted. */
  readonly time: number
}

/** Bytes of a function's dead letters; then the oldest go. */
export const deadLetterMaxBytes: number = 64 * 1024 * 1024
/** Characters of state kept with a dead letter. */
export const stateSeenMaxChars = 8_192

export function deadLetterLogName(name: string): string {
  return `dead.${name}`
}

export class DeadLetterLog {
  readonly #name: string
  readonly #kept: SetAsideLog

  private constructor(name: string, kept: SetAsideLog) {
    this.#name = name
    this.#kept = kept
  }

  static async open(
    store: Store,
    name: string,
    maxBytes: number = deadLetterMaxBytes,
  ): Promise<DeadLetterLog> {
    const log = store.log(deadLetterLogName(name), { maxBytes, overflow: 'drop-oldest' })
    return new DeadLetterLog(name, await SetAsideLog.open(store, log, `function "${name}"`))
  }

  get log(): CommitLog {
    return this.#kept.log
  }

  /** Dead letters kept now. */
  get count(): number {
    return this.#kept.count
  }

  /** Appends a dead letter to the caller's transaction. */
  stage(tx: Transaction, input: LogRecord, cause: DeathCause): void {
    const { offset: _offset, epoch: _epoch, expiresAt: _expiresAt, ...message } = input
    tx.append(this.log, { ...message, extra: JSON.stringify(cause) })
  }

  /** The newest `limit`, newest first. */
  async list(limit: number): Promise<DeadLetter[]> {
    return (await this.#kept.list(limit)).map(record => deadLetterOf(this.#name, record))
  }

  /** Offsets of all that are kept now, oldest first. */
  offsets(): Promise<Offset[]> {
    return this.#kept.offsets()
  }

  /**
   * Appends the message to the inbox again, with `retryOf`, and takes the dead letter out: one batch.
   * Errors: FESCUE_NOT_FOUND; FESCUE_STORE_FULL when the inbox has no room.
   */
  retry(offset: Offset, inbox: CommitLog): Promise<void> {
    return this.#kept.putBack(offset, inbox, retryInput)
  }

  /** Takes one out for good. Errors: FESCUE_NOT_FOUND. */
  drop(offset: Offset): Promise<void> {
    return this.#kept.drop(offset)
  }

  /** Takes all out for good; how many there were. */
  dropAll(): Promise<number> {
    return this.#kept.dropAll()
  }
}

function deadLetterOf(name: string, record: LogRecord): DeadLetter {
  const cause: DeathCause = JSON.parse(record.extra ?? '{}')
  const { offset, topic, payload, qos, time } = record
  return { function: name, offset, topic, payload, qos, time, ...cause }
}

/** The message once more. Its hops begin anew: a person decided to run it. */
function retryInput(record: LogRecord, retryOf: string): RecordInput {
  const { offset: _offset, epoch: _epoch, extra: _extra, hops: _hops, ...message } = record
  return { ...message, retryOf }
}
