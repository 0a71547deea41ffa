/**
 * The log of the daemon: one level for all parts that can be changed at any time, and a memory of recent lines.
 *
 *   parts ─► DaemonLog (level) ─┬─► the logger underneath (pino: JSON lines on stdout)
 *                               └─► rings: one of the daemon, one of functions ─► fescue logs, API
 *
 * Two rings, so that a function that logs without end cannot push out what the daemon said. A line is cut at
 * `lineMaxCharacters`. With no reader it costs one JSON text per line that is logged.
 */
import type { LogEntry, LogQuery } from '#api/backend.ts'
import type { Clock } from '#base/clock.ts'
import type { Logger } from '#base/logger.ts'
import { asksFor, LogRing, levelRanks } from './log-ring.ts'

type Level = LogEntry['level']
type Fields = Readonly<Record<string, unknown>>

export const daemonLogLinesMax = 2_000
export const daemonLogBytesMax: number = 512 * 1024
export const functionLogLinesMax = 4_000
export const functionLogBytesMax: number = 1024 * 1024
/** Characters of a message and of the text of a field. */
const lineMaxCharacters = 8_192
const stackMaxCharacters = 4_096

/** What all children share. */
interface Shared {
  readonly clock: Clock
  readonly daemon: LogRing
  readonly functions: LogRing
  readonly listeners: Set<(entry: LogEntry) => void>
  rank: number
  seq: number
}

export class DaemonLog implements Logger {
  readonly #under: Logger
  readonly #bindings: Fields
  readonly #shared: Shared

  private constructor(under: Logger, bindings: Fields, shared: Shared) {
    this.#under = under
    this.#bindings = bindings
    this.#shared = shared
  }

  /** `under` must let every level through: this one decides. */
  static over(under: Logger, clock: Clock, level: Level): DaemonLog {
    return new DaemonLog(
      under,
      {},
      {
        clock,
        daemon: new LogRing({ linesMax: daemonLogLinesMax, bytesMax: daemonLogBytesMax }),
        functions: new LogRing({ linesMax: functionLogLinesMax, bytesMax: functionLogBytesMax }),
        listeners: new Set(),
        rank: levelRanks[level],
        seq: 0,
      },
    )
  }

  /** Least level that is logged from now on, for all parts. */
  set level(level: Level) {
    this.#shared.rank = levelRanks[level]
  }

  debug(fields: object, message?: string): void {
    this.#log('debug', fields as Fields, message)
  }

  info(fields: object, message?: string): void {
    this.#log('info', fields as Fields, message)
  }

  warn(fields: object, message?: string): void {
    this.#log('warn', fields as Fields, message)
  }

  error(fields: object, message?: string): void {
    this.#log('error', fields as Fields, message)
  }

  child(bindings: object): DaemonLog {
    return new DaemonLog(this.#under.child(bindings), { ...this.#bindings, ...bindings }, this.#shared)
  }

  /** Recent lines of daemon and functions, oldest first. */
  recent(query: LogQuery): readonly LogEntry[] {
    const { daemon, functions } = this.#shared
    const found = [...daemon.read(query), ...functions.read(query)]
    return found.sort((a, b) => a.seq - b.seq).slice(-query.limit)
  }

  /** Calls with each line that the query asks for: those since `after` at once, then as they come. */
  follow(query: LogQuery, listener: (entry: LogEntry) => void): () => void {
    const { listeners } = this.#shared
    const own = (entry: LogEntry) => {
      if (asksFor(query, entry)) listener(entry)
    }
    if (query.after !== undefined) for (const entry of this.recent(query)) listener(entry)
    listeners.add(own)
    return () => {
      listeners.delete(own)
    }
  }

  #log(level: Level, fields: Fields, message: string | undefined): void {
    const shared = this.#shared
    if (levelRanks[level] < shared.rank) return
    this.#under[level](fields, message)
    shared.seq += 1
    const entry = entryOf(shared.seq, shared.clock.now(), level, { ...this.#bindings, ...fields }, message)
    // A line of a function has its invocation; what the daemon says about a function has none.
    const ring = entry.invocationId === undefined ? shared.daemon : shared.functions
    ring.add(entry, 2 * JSON.stringify(entry).length)
    for (const listener of shared.listeners) listener(entry)
  }
}

function entryOf(
  seq: number,
  time: number,
  level: Level,
  all: Fields,
  message: string | undefined,
): LogEntry {
  const { part, function: name, invocationId, ...rest } = all
  const fields = Object.entries(rest).flatMap(([key, value]): [string, unknown][] =>
    value === undefined ? [] : [[key, plain(value)]],
  )
  return {
    seq,
    time,
    level,
    ...(typeof part === 'string' && { part }),
    ...(typeof name === 'string' && { function: name }),
    ...(typeof invocationId === 'string' && { invocationId }),
    message: (message ?? '').slice(0, lineMaxCharacters),
    ...(fields.length > 0 && { fields: Object.fromEntries(fields) }),
  }
}

/** As JSON will show it; an error as what it says and where it came from. */
function plain(value: unknown): unknown {
  if (value instanceof Error) {
    const { message, stack } = value
    const code = 'code' in value && typeof value.code === 'string' ? { code: value.code } : {}
    return { ...code, message, ...(stack !== undefined && { stack: stack.slice(0, stackMaxCharacters) }) }
  }
  if (typeof value === 'string') return value.slice(0, lineMaxCharacters)
  if (typeof value !== 'object' || value === null) return typeof value === 'bigint' ? String(value) : value
  const text = safeJson(value)
  return text.length > lineMaxCharacters ? `${text.slice(0, lineMaxCharacters)}…` : JSON.parse(text)
}

function safeJson(value: object): string {
  try {
    return JSON.stringify(value) ?? 'null'
  } catch {
    return '"(cannot be shown)"'
  }
}
