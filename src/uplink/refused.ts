/**
 * Records that a receiver would not take: log `refused.ROUTE.PRIORITY` beside `outbox.ROUTE.PRIORITY`. They are looked
 * at, sent again (as new records: the receiver has passed the old number) or dropped.
 *
 *   outbox.bury ─► refused.NAME.5 ─┬─ retry ─► outbox.NAME.5
 *                                  └─ drop
 */
import { FescueError } from '#base/errors.ts'
import type { Offset } from '#base/ids.ts'
import { nearest } from '#base/nearest.ts'
import type { CommitLog } from '#store/commit-log.ts'
import type { LogRecord, RecordInput } from '#store/record.ts'
import { SetAsideLog } from '#store/set-aside-log.ts'
import type { Store } from '#store/store.ts'

/** Why: the JSON in `extra` of the record. */
export interface RefusalCause {
  readonly error: { readonly code: string; readonly message: string }
  /** `log.incarnation` that it was in. */
  readonly log: string
  readonly offset: Offset
  readonly epoch: string
  /** Milliseconds since the epoch. */
  readonly at: number
}

export interface Refused extends RefusalCause {
  /** `ROUTE.PRIORITY`. */
  readonly route: string
  /** Offset in the log of the refused. */
  readonly refusedOffset: Offset
  readonly topic: string
  readonly payload: Buffer
}

const refusedPrefix = 'refused.'
const outboxPrefix = 'outbox.'

/** Name of the log beside an outbox log; at most 64 characters. */
export function refusedLogName(outbox: CommitLog): string {
  return outbox.name.replace(outboxPrefix, refusedPrefix).slice(0, 64)
}

/** Records of an outbox log that were refused and are kept. */
export function refusedCount(store: Store, outbox: CommitLog): number {
  return store.findLog(refusedLogName(outbox))?.records ?? 0
}

export class RefusedRecords {
  readonly #store: Store
  readonly #open = new Map<string, SetAsideLog>()

  constructor(store: Store) {
    this.#store = store
  }

  /** Newest first, of all routes or one. Errors: FESCUE_NOT_FOUND. */
  async list(query: { readonly route?: string; readonly limit: number }): Promise<Refused[]> {
    const names = query.route === undefined ? this.#names() : [this.#named(query.route)]
    const found = await Promise.all(
      names.map(async name => {
        const log = await this.#log(name)
        return (await log.list(query.limit)).map(record => refusedOf(name, record))
      }),
    )
    return found
      .flat()
      .sort((a, b) => b.at - a.at)
      .slice(0, query.limit)
  }

  /** Sends them again, all of the route or some; how many. Errors: FESCUE_NOT_FOUND, FESCUE_STORE_FULL. */
  async retry(route: string, offsets?: readonly Offset[]): Promise<number> {
    const name = this.#named(route)
    const log = await this.#log(name)
    const outbox = this.#outboxOf(name)
    const chosen = offsets ?? (await log.offsets())
    for (const offset of chosen) await log.putBack(offset, outbox, sendAgain)
    return chosen.length
  }

  /** Deletes them for good, all of the route or some; how many. Errors: FESCUE_NOT_FOUND. */
  async drop(route: string, offsets?: readonly Offset[]): Promise<number> {
    const log = await this.#log(this.#named(route))
    if (offsets === undefined) return log.dropAll()
    for (const offset of offsets) await log.drop(offset)
    return offsets.length
  }

  #names(): string[] {
    return [...this.#store.logs()]
      .filter(({ name }) => name.startsWith(refusedPrefix))
      .map(({ name }) => name.slice(refusedPrefix.length))
  }

  /** `ROUTE.PRIORITY`, or the route alone while it has one priority. */
  #named(route: string): string {
    const names = this.#names()
    const exact = names.find(name => name === route)
    const ofRoute = names.filter(name => name.replace(/\.\d$/, '') === route)
    const [only] = ofRoute
    if (exact !== undefined) return exact
    if (only !== undefined && ofRoute.length === 1) return only
    const near = nearest(route, names)
    const hint = near === undefined ? '' : `; did you mean "${near}"?`
    throw new FescueError('FESCUE_NOT_FOUND', `route "${route}" has no refused records${hint}`)
  }

  async #log(name: string): Promise<SetAsideLog> {
    const found = this.#store.findLog(refusedPrefix + name)
    if (found === undefined)
      throw new FescueError('FESCUE_NOT_FOUND', `route "${name}" has no refused records`)
    const known = this.#open.get(name)
    if (known?.log === found) return known
    const opened = await SetAsideLog.open(this.#store, found, `route "${name}"`)
    this.#open.set(name, opened)
    return opened
  }

  /** The name of a refused log may be cut by its last character. */
  #outboxOf(name: string): CommitLog {
    const wanted = outboxPrefix + name
    const logs = [...this.#store.logs()]
    const found =
      logs.find(log => log.name === wanted) ??
      logs.find(log => log.name.startsWith(wanted) && log.name.length === wanted.length + 1)
    if (found !== undefined) return found
    throw new FescueError(
      'FESCUE_NOT_FOUND',
      `route "${name}" is not there any more: configure it again, or drop its records`,
    )
  }
}

function refusedOf(route: string, record: LogRecord): Refused {
  const cause: RefusalCause = JSON.parse(record.extra ?? '{}')
  const { offset: refusedOffset, topic, payload } = record
  return { ...cause, route, refusedOffset, topic, payload }
}

/** Without its expiry: a person decided that it should leave. */
function sendAgain(record: LogRecord, retryOf: string): RecordInput {
  const { offset: _offset, epoch: _epoch, extra: _extra, expiresAt: _expiresAt, ...message } = record
  return { ...message, retryOf }
}
