/**
 * `console` inside an isolate: log lines with the invocation they belong to.
 *
 * The credits are here, since a loop that logs would otherwise fill the host's memory (D6): a line has a bound, and so have
 * the bytes a second. What is over is counted, and the count is logged when the second is over.
 */
import { formatLine } from './inspect.ts'
import { floor, realNow } from './natives.ts'

/** Characters of one log line. */
export const logLineCharactersMax = 8192
/** Characters of log that a lane may write in a second. */
export const logCharactersPerSecond = 262_144

/** 0 debug, 1 info, 2 warn, 3 error. */
export type WriteLog = (level: number, text: string) => void

export class LogCredit {
  readonly #write: WriteLog
  #second = 0
  #left = logCharactersPerSecond
  #dropped = 0

  constructor(write: WriteLog) {
    this.#write = write
  }

  /** Writes the line if there is credit for it; else counts it. */
  line(level: number, text: string): void {
    const second = floor(realNow() / 1000)
    if (second !== this.#second) {
      this.#second = second
      this.#left = logCharactersPerSecond
      this.reportDropped()
    }
    // Each line costs something even when it is empty.
    const cost = text.length + 32
    if (cost > this.#left) {
      this.#dropped++
      return
    }
    this.#left -= cost
    this.#write(level, text)
  }

  /** Whether a line would be dropped now: spares the formatting. */
  get spent(): boolean {
    return this.#left < 64 && floor(realNow() / 1000) === this.#second
  }

  drop(): void {
    this.#dropped++
  }

  reportDropped(): void {
    if (this.#dropped === 0) return
    const dropped = this.#dropped
    this.#dropped = 0
    this.#write(2, `${dropped} log lines dropped: more than ${logCharactersPerSecond} characters in a second`)
  }
}

/** A log line never throws: getters and proxies do what they like. */
function shown(args: readonly unknown[]): string {
  try {
    return formatLine(args, logLineCharactersMax)
  } catch {
    return '[a value that cannot be shown: reading it throws]'
  }
}

/** Makes the global `console`. `now` is the recorded clock, for `console.time`. */
export function installConsole(credit: LogCredit, now: () => number): void {
  const writer =
    (level: number) =>
    (...args: unknown[]) => {
      if (credit.spent) credit.drop()
      else credit.line(level, shown(args))
    }
  const info = writer(1)
  const error = writer(3)
  const timers = new Map<string, number>()
  const counts = new Map<string, number>()
  const elapsed = (label: string) => `${label}: ${now() - (timers.get(label) ?? now())} ms`
  const console = {
    log: info,
    info,
    dir: (value: unknown) => info(value),
    table: info,
    group: info,
    groupEnd: () => {},
    groupCollapsed: info,
    debug: writer(0),
    warn: writer(2),
    error,
    trace: (...args: unknown[]) => error(...args, new Error('trace').stack),
    assert: (condition: unknown, ...args: unknown[]) => {
      if (!condition) error('Assertion failed', ...args)
    },
    time: (label = 'default') => {
      if (timers.size < 1000) timers.set(label, now())
    },
    timeLog: (label = 'default') => info(elapsed(label)),
    timeEnd: (label = 'default') => {
      info(elapsed(label))
      timers.delete(label)
    },
    count: (label = 'default') => {
      const count = (counts.get(label) ?? 0) + 1
      if (counts.size < 1000 || counts.has(label)) counts.set(label, count)
      info(`${label}: ${count}`)
    },
    countReset: (label = 'default') => {
      counts.delete(label)
    },
  }
  Object.defineProperty(globalThis, 'console', { value: console, writable: true, configurable: true })
}
