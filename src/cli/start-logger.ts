/** The log of a foreground service: pino, JSON lines on the standard output, for a journal or a collector. */
import { type Logger as PinoLogger, pino } from 'pino'

/** Synchronous: what was logged before an end is out. Level names instead of pino's numbers, time as ISO 8601. */
export function startLogger(level: string): PinoLogger {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
    },
    pino.destination({ fd: 1, sync: true }),
  )
}
