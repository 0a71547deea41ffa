/** The dead letters of all functions: one log each, found by name. */
import { FescueError } from '#base/errors.ts'
import type { Offset } from '#base/ids.ts'
import { nearest } from '#base/nearest.ts'
import type { CommitLog } from '#store/commit-log.ts'
import type { Store } from '#store/store.ts'
import { type DeadLetter, DeadLetterLog, deadLetterMaxBytes } from './dead-letter-log.ts'

export interface DeadLetterQuery {
  /** All functions when absent. */
  readonly function?: string
  readonly limit: number
}

export class DeadLetters {
  readonly #store: Store
  #maxBytes: number
  readonly #logs = new Map<string, DeadLetterLog>()

  constructor(store: Store, maxBytes: number = deadLetterMaxBytes) {
    this.#store = store
    this.#maxBytes = maxBytes
  }

  /** The log of a function, made when it is new. */
  async open(name: string): Promise<DeadLetterLog> {
    const log = this.#logs.get(name) ?? (await DeadLetterLog.open(this.#store, name, this.#maxBytes))
    this.#logs.set(name, log)
    return log
  }

  /** Another bound in bytes for each of them. */
  limit(maxBytes: number): void {
    this.#maxBytes = maxBytes
    for (const { log } of this.#logs.values()) log.setLimits({ ...log.limits, maxBytes })
  }

  find(name: string): DeadLetterLog | undefined {
    return this.#logs.get(name)
  }

  forget(name: string): void {
    this.#logs.delete(name)
  }

  /** Newest first. Errors: FESCUE_NOT_FOUND. */
  async list(query: DeadLetterQuery): Promise<DeadLetter[]> {
    const logs = query.function === undefined ? [...this.#logs.values()] : [this.#get(query.function)]
    const found = (await Promise.all(logs.map(log => log.list(query.limit)))).flat()
    return found.sort((a, b) => b.diedAt - a.diedAt).slice(0, query.limit)
  }

  /**
   * Puts dead letters into the inbox again, all or some; how many. Errors: FESCUE_NOT_FOUND, FESCUE_STORE_FULL
   * (those before are done).
   */
  async retry(name: string, inbox: CommitLog, offsets?: readonly Offset[]): Promise<number> {
    const log = this.#get(name)
    const chosen = offsets ?? (await log.offsets())
    for (const offset of chosen) await log.retry(offset, inbox)
    return chosen.length
  }

  /** Deletes dead letters for good, all or some; how many. Errors: FESCUE_NOT_FOUND. */
  async drop(name: string, offsets?: readonly Offset[]): Promise<number> {
    const log = this.#get(name)
    if (offsets === undefined) return log.dropAll()
    for (const offset of offsets) await log.drop(offset)
    return offsets.length
  }

  #get(name: string): DeadLetterLog {
    const log = this.#logs.get(name)
    if (log === undefined) throw unknownFunction(name, this.#logs.keys())
    return log
  }
}

export function unknownFunction(name: string, known: Iterable<string>): FescueError {
  const near = nearest(name, known)
  const hint = near === undefined ? '' : `; did you mean "${near}"?`
  return new FescueError('FESCUE_NOT_FOUND', `there is no function "${name}"${hint}`)
}
