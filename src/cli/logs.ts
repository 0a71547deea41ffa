/** `fescue logs`: the recent lines of the daemon and of its functions, and with --follow those that come. */
import { styleText } from 'node:util'
import { Command, InvalidArgumentError, Option } from 'commander'
import type { LogEntry } from '#api/backend.ts'
import { FescueError } from '#base/errors.ts'
import { parseDuration } from '#base/quantity.ts'
import type { ApiClient } from './api-client.ts'
import { findDaemon, type TargetOptions, withTarget } from './daemon-target.ts'
import { formatCount, formatPayload, formatTime } from './format.ts'
import { parsePositive } from './numbers.ts'
import { isColourful, type Terminal } from './terminal.ts'

interface LogsOptions extends TargetOptions {
  readonly follow?: boolean
  readonly function?: string
  readonly level?: LogEntry['level']
  readonly since?: number
  readonly lines: number
  readonly json?: boolean
}

type Streamed = LogEntry | { readonly type: 'skipped'; readonly count: number }

const help = `
Examples:
  fescue logs                                the last 100 lines
  fescue logs -f                             and those that come
  fescue logs --function thermostat -n 20    what this function wrote, and what the daemon says of it
  fescue logs --level warn --since 1h
  fescue logs --json | jq -r 'select(.invocationId) | .message'

The daemon keeps the newest lines in memory: up to 2,000 of its own and 4,000 of functions. All of them are on its
standard output (journalctl -u fescue). What is below log.level of the config is not written.`

export function build(terminal: Terminal): Command {
  const command = new Command('logs')
    .description('Shows what the daemon and its functions logged.')
    .option('-f, --follow', 'go on with lines as they come')
    .option('--function <function>', 'only lines of this function')
    .addOption(
      new Option('--level <level>', 'only lines of this level or above').choices([
        'debug',
        'info',
        'warn',
        'error',
      ]),
    )
    .option('--since <time>', 'only lines since then: 10m, 2h, or 2026-01-31T12:00', parseSince)
    .option('-n, --lines <n>', 'at most so many of those that there are', parsePositive, 100)
    .option('--json', 'one JSON document a line')
    .addHelpText('after', help)
  return withTarget(command).action((options: LogsOptions) => logs(options, terminal))
}

/** A span before now, or a moment; in milliseconds since the epoch. */
export function parseSince(text: string): number {
  const spanMs = /^\d+$/.test(text) ? undefined : parseDuration(text)
  if (spanMs !== undefined) return Math.max(0, Date.now() - spanMs)
  const moment = Date.parse(text)
  if (!Number.isNaN(moment) && moment >= 0) return moment
  throw new InvalidArgumentError('It is a time before now (10m, 2h, 1d) or a date (2026-01-31T12:00).')
}

async function logs(options: LogsOptions, terminal: Terminal): Promise<void> {
  const client = await findDaemon(options, terminal)
  const query = new URLSearchParams({ limit: String(Math.ceil(options.lines)) })
  if (options.function !== undefined) query.set('function', options.function)
  if (options.level !== undefined) query.set('level', options.level)
  if (options.since !== undefined) query.set('since', String(options.since))
  const recent = await client.call<LogEntry[]>(`/api/v1/logs?${query}`, { signal: terminal.signal })
  for (const entry of recent) terminal.stdout.write(line(entry, options, terminal))
  if (options.follow === true) await follow(client, query, recent.at(-1), options, terminal)
  else if (recent.length === 0) terminal.stderr.write('There are no such lines.\n')
}

/** From the line after the last that was shown, so that none is missing between the two requests. */
async function follow(
  client: ApiClient,
  query: URLSearchParams,
  last: LogEntry | undefined,
  options: LogsOptions,
  terminal: Terminal,
): Promise<void> {
  query.set('follow', '1')
  query.set('after', String(last?.seq ?? 0))
  query.set('limit', '10000')
  for await (const item of client.stream<Streamed>(`/api/v1/logs?${query}`, terminal.signal)) {
    if ('type' in item)
      terminal.stderr.write(`${formatCount(item.count)} lines were too fast for this reader\n`)
    else terminal.stdout.write(line(item, options, terminal))
  }
  if (!terminal.signal.aborted) throw new FescueError('FESCUE_STOPPING', 'the daemon ended the stream')
}

const marks = { debug: 'DEBUG', info: 'INFO ', warn: 'WARN ', error: 'ERROR' } as const
const colours = { debug: 'gray', info: 'cyan', warn: 'yellow', error: 'red' } as const
/** Characters of one line: a stack trace is in the JSON. */
const lineMaxCharacters = 2_000

function line(entry: LogEntry, options: LogsOptions, terminal: Terminal): string {
  if (options.json === true) return `${JSON.stringify(entry)}\n`
  return `${logLine(entry, isColourful(terminal, terminal.stdout))}\n`
}

/** `12:00:00.000 WARN  broker  message  key=value  [invocation]`, whatever control characters were in it. */
export function logLine(entry: LogEntry, colourful: boolean): string {
  const { time, level, part, invocationId, message, fields } = entry
  const paint = (style: 'dim' | (typeof colours)[LogEntry['level']], text: string) =>
    colourful ? styleText(style, text, { validateStream: false }) : text
  const parts = [
    paint('dim', formatTime(time)),
    paint(colours[level], marks[level]),
    entry.function ?? part ?? 'daemon',
    formatPayload(message, lineMaxCharacters),
  ]
  const more = Object.entries(fields ?? {}).map(([key, value]) => `${key}=${fieldText(value)}`)
  if (more.length > 0) parts.push(paint('dim', formatPayload(more.join(' '), lineMaxCharacters)))
  if (invocationId !== undefined) parts.push(paint('dim', `[${invocationId}]`))
  return parts.join('  ')
}

/** Of an error what it says. */
function fieldText(value: unknown): string {
  if (typeof value === 'string') return /[\s"]/.test(value) ? JSON.stringify(value) : value
  const { message } = (value ?? {}) as { message?: unknown }
  return typeof message === 'string' ? JSON.stringify(message) : JSON.stringify(value)
}
