/**
 * All persistent sessions of the broker: loaded before any listener opens, opened at CONNECT, discarded with
 * clean session = 1 or when their client has been away for too long.
 *
 * What is done for one client is done in order: a discard that is on its way ends before the same client's
 * session is opened again. Bounds (D6): `sessionsMax` sessions; each log by bytes and age, oldest dropped.
 */
import type { Clock } from '#base/clock.ts'
import { FescueError } from '#base/errors.ts'
import type { Logger } from '#base/logger.ts'
import type { Router } from '#router/router.ts'
import type { LogLimits } from '#store/commit-log.ts'
import type { Store } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'
import { PersistentSession, type SessionDependencies } from './persistent-session.ts'
import { type Sessions, sessionInflight, sessionsMax } from './session.ts'
import {
  decodeSession,
  decodeSubscription,
  type SessionDocument,
  sessionKey,
  sessionLogPrefix,
  sessionSpace,
  subscriptionSpace,
} from './session-documents.ts'

const dayMs = 24 * 60 * 60 * 1000

export interface SessionLimits {
  /** Bounds of each session's log (16 MiB, 7 days, `drop-oldest`). */
  readonly log: LogLimits
  /** A session whose client has been away for this long is discarded (7 days). */
  readonly expiryMs: number
  /** Unacknowledged messages on their way to one client (20). */
  readonly inflightMax: number
  /** Sessions that are kept (10,000). */
  readonly sessionsMax: number
}

export const defaultSessionLimits: SessionLimits = {
  log: { maxBytes: 16 * 1024 * 1024, maxAgeMs: 7 * dayMs, overflow: 'drop-oldest' },
  expiryMs: 7 * dayMs,
  inflightMax: sessionInflight,
  sessionsMax,
}

export interface SessionsOptions {
  readonly store: Store
  readonly router: Router
  readonly clock: Clock
  readonly logger: Logger
  readonly limits?: Partial<SessionLimits>
}

/** Longest time between two looks for expired sessions. */
const sweepMaxMs = 60 * 60 * 1000
/** Times before it (2020) are those of a board whose clock was not set yet. */
const clockUnsetBefore = 1_577_836_800_000

/** Loads all sessions and subscribes them to the router. Errors: those of reading the store. */
export async function openSessions(options: SessionsOptions): Promise<SessionStore> {
  const sessions = new SessionStore(options)
  await sessions.load()
  return sessions
}

export class SessionStore implements Sessions {
  readonly #options: SessionsOptions
  #limits: SessionLimits
  readonly #deps: SessionDependencies
  readonly #sessions = new Map<string, PersistentSession>()
  /** The last thing that is being done for a client. */
  readonly #busy = new Map<string, Promise<unknown>>()
  #cancelSweep = (): void => {}
  #expiredRecords = 0
  #closed = false

  constructor(options: SessionsOptions) {
    const { store, router, clock } = options
    this.#options = options
    this.#limits = { ...defaultSessionLimits, ...options.limits }
    this.#deps = {
      store,
      router,
      clock,
      inflightMax: this.#limits.inflightMax,
      expired: () => {
        this.#expiredRecords += 1
      },
    }
  }

  async load(): Promise<void> {
    const { store, logger } = this.#options
    const byKey = new Map<string, PersistentSession>()
    for await (const { key, value } of store.list(sessionSpace)) {
      const session = this.#restore(decodeSession(value))
      byKey.set(key, session)
      this.#sessions.set(session.clientId, session)
    }
    for await (const { key, value } of store.list(subscriptionSpace)) {
      const { session, entry } = decodeSubscription(key, value)
      byKey.get(session)?.restore(entry)
    }
    await this.#removeOrphans(byKey)
    logger.info({ sessions: this.size }, 'sessions loaded')
    this.#sweep()
  }

  /** Other bounds for the logs, and another time until a session is forgotten. */
  setLimits({ log, expiryMs }: Pick<SessionLimits, 'log' | 'expiryMs'>): void {
    this.#limits = { ...this.#limits, log, expiryMs }
    for (const session of this.list()) session.log.setLimits(log)
    this.#cancelSweep()
    this.#sweep()
  }

  get size(): number {
    return this.#sessions.size
  }

  /** Records that were past their expiry when their turn came. */
  get expiredRecords(): number {
    return this.#expiredRecords
  }

  find(clientId: string): PersistentSession | undefined {
    return this.#sessions.get(clientId)
  }

  list(): Iterable<PersistentSession> {
    return this.#sessions.values()
  }

  /** Sessions that queue what is published to the topic. */
  matching(topic: string): PersistentSession[] {
    const consumers = this.#options.router.consumersOf(topic).map(({ consumer }) => consumer)
    return consumers.filter(consumer => consumer instanceof PersistentSession)
  }

  open(clientId: string): Promise<{ session: PersistentSession; present: boolean }> {
    return this.#inOrder(clientId, async () => {
      const known = this.#sessions.get(clientId)
      const session = known ?? this.#create(clientId)
      const tx = new Transaction()
      if (known === undefined) {
        session.stage(tx)
      } else {
        await session.load()
        session.stageConnected(tx)
      }
      await this.#options.store.write(tx)
      return { session, present: known !== undefined }
    })
  }

  discard(clientId: string): Promise<void> {
    return this.#inOrder(clientId, async () => {
      const session = this.#sessions.get(clientId)
      if (session !== undefined) await this.#end(session)
    })
  }

  /** Ends serving; the sessions stay stored. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#cancelSweep()
    for (const session of this.list()) session.release()
    await Promise.allSettled(this.#busy.values())
  }

  #restore({ clientId, epoch, sentTo, disconnectedAt }: SessionDocument): PersistentSession {
    const { store, clock } = this.#options
    const log = store.log(logName(sessionKey(clientId)), this.#limits.log)
    const awayMs =
      disconnectedAt === undefined || disconnectedAt < clockUnsetBefore ? 0 : clock.now() - disconnectedAt
    // What a connected client was sent is unknown after a life that may have lost writes.
    const certain = disconnectedAt !== undefined || !this.#lostSince(epoch)
    const sent = certain ? Math.min(sentTo, log.end) : log.end
    return new PersistentSession(this.#deps, clientId, log, sent, Math.max(0, awayMs))
  }

  /** Whether an epoch after `epoch` began because written data may be gone. */
  #lostSince(epoch: string): boolean {
    const { epochs } = this.#options.store
    const index = epochs.findIndex(entry => entry.epoch === epoch)
    return epochs.slice(index + 1).some(({ reason }) => reason !== 'restart' && reason !== 'created')
  }

  #create(clientId: string): PersistentSession {
    const { store } = this.#options
    if (this.#sessions.size >= this.#limits.sessionsMax) {
      const text = `${this.#limits.sessionsMax} sessions are kept: no room for one of "${clientId}"`
      throw new FescueError('FESCUE_STORE_FULL', text)
    }
    const log = store.log(logName(sessionKey(clientId)), this.#limits.log)
    const session = new PersistentSession(this.#deps, clientId, log, log.head, 0)
    this.#sessions.set(clientId, session)
    return session
  }

  async #end(session: PersistentSession): Promise<void> {
    const { store } = this.#options
    await session.load()
    const tx = new Transaction()
    session.discard(tx)
    this.#sessions.delete(session.clientId)
    await store.write(tx)
    await store.removeLog(session.log)
  }

  /** Logs of sessions that were discarded when the process ended before they were removed. */
  async #removeOrphans(known: ReadonlyMap<string, unknown>): Promise<void> {
    const { store } = this.#options
    for (const log of [...store.logs()]) {
      const { name } = log
      if (!name.startsWith(sessionLogPrefix) || known.has(name.slice(sessionLogPrefix.length))) continue
      await store.removeLog(log)
    }
  }

  /** Discards what has expired and comes back when the next one will. */
  #sweep(): void {
    if (this.#closed) return
    const { clock } = this.#options
    let nextMs = sweepMaxMs
    for (const session of this.#sessions.values()) {
      const leftMs = this.#limits.expiryMs - session.awayMs
      if (leftMs <= 0) this.#expire(session)
      else nextMs = Math.min(nextMs, leftMs)
    }
    this.#cancelSweep = clock.after(nextMs, () => this.#sweep())
  }

  #expire(session: PersistentSession): void {
    const { logger } = this.#options
    const { clientId } = session
    this.#inOrder(clientId, async () => {
      // The client may have come back while this waited for its turn.
      if (this.#sessions.get(clientId) !== session || session.awayMs < this.#limits.expiryMs) return
      logger.info({ client: clientId, records: session.queued }, 'session expired')
      await this.#end(session)
    }).catch((error: unknown) => logger.warn({ err: error, client: clientId }, 'session not discarded'))
  }

  /** Runs `work` when all that was begun for this client before is over. */
  #inOrder<T>(clientId: string, work: () => Promise<T>): Promise<T> {
    const before = this.#busy.get(clientId)
    const result = before === undefined ? work() : before.then(work, work)
    this.#busy.set(clientId, result)
    const finish = (): void => {
      if (this.#busy.get(clientId) === result) this.#busy.delete(clientId)
    }
    result.then(finish, finish)
    return result
  }
}

function logName(key: string): string {
  return sessionLogPrefix + key
}
