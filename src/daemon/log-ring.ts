/**
 * The most recent lines of a log in memory, bounded by lines and by bytes (D6): what `fescue logs` reads.
 *
 *   add ─► [ oldest … newest ] ─► read(query)          the whole log is the standard output's reader's to keep
 *            └ goes first when full
 */
import type { LogEntry, LogQuery } from '#api/backend.ts'

/** 0 is the least important. */
export const levelRanks: Readonly<Record<LogEntry['level'], number>> = {
  debug: 0,
  info: 1,
  warn: 2,
  error: 3,
}

export interface LogRingLimits {
  readonly linesMax: number
  /** Bytes of the lines as JSON text in UTF-16, which is about what they take. */
  readonly bytesMax: number
}

interface Kept {
  readonly entry: LogEntry
  readonly bytes: number
}

export class LogRing {
  readonly #limits: LogRingLimits
  /** Oldest first, from `#first` on. */
  #lines: Kept[] = []
  #first = 0
  #bytes = 0

  constructor(limits: LogRingLimits) {
    this.#limits = limits
  }

  get lines(): number {
    return this.#lines.length - this.#first
  }

  get bytes(): number {
    return this.#bytes
  }

  add(entry: LogEntry, bytes: number): void {
    this.#lines.push({ entry, bytes })
    this.#bytes += bytes
    const { linesMax, bytesMax } = this.#limits
    while (this.lines > 1 && (this.lines > linesMax || this.#bytes > bytesMax)) {
      this.#bytes -= this.#lines[this.#first]?.bytes ?? 0
      this.#first += 1
    }
    if (this.#first <= linesMax) return
    this.#lines = this.#lines.slice(this.#first)
    this.#first = 0
  }

  /** The lines that the query asks for, oldest first; `limit` counts from the newest. */
  read(query: LogQuery): readonly LogEntry[] {
    const found: LogEntry[] = []
    for (let i = this.#lines.length - 1; i >= this.#first && found.length < query.limit; i--) {
      const entry = this.#lines[i]?.entry
      if (entry === undefined || entry.seq <= (query.after ?? 0)) break
      if (asksFor(query, entry)) found.push(entry)
    }
    return found.reverse()
  }
}

/** Whether a line is one that the query asks for; its `limit` apart. */
export function asksFor(query: LogQuery, entry: LogEntry): boolean {
  if (query.level !== undefined && levelRanks[entry.level] < levelRanks[query.level]) return false
  if (query.function !== undefined && entry.function !== query.function) return false
  if (query.since !== undefined && entry.time < query.since) return false
  return entry.seq > (query.after ?? 0)
}
