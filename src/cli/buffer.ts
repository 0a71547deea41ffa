/** `fescue buffer`: what waits in which log, how fast it leaves, and what was lost. */
import { Command } from 'commander'
import type { Buffered, LogInfo, RouteInfo } from '#api/backend.ts'
import { sleep, systemClock } from '#base/clock.ts'
import { findDaemon, type TargetOptions, withTarget } from './daemon-target.ts'
import { formatAgo, formatBytes, formatCount, formatDuration, formatRate } from './format.ts'
import { parsePositive } from './numbers.ts'
import { uplinkParts } from './status.ts'
import { writeTable } from './table.ts'
import { isColourful, type Terminal } from './terminal.ts'

interface BufferOptions extends TargetOptions {
  readonly json?: boolean
  /** Seconds; `true` without a number. */
  readonly watch?: number | true
}

/** Seconds between two looks. */
const watchDefaultS = 2

const help = `
Examples:
  fescue buffer
  fescue buffer --watch                      again every 2 s, with the rates in between
  fescue buffer --json | jq '.routes[] | {route, records, drainMs}'
  fescue buffer --json | jq '.logs[] | select(.records > 0)'

The first table has a row for each route: what waits for the cloud, how fast it was acknowledged over the last minute,
when it will be empty at that rate, and what the receiver refused (fescue dead-letters list). The second has the other
logs: inbox.* waits for a function, session.* for an MQTT client, dead.* and refused.* for you.`

export function build(terminal: Terminal): Command {
  const command = new Command('buffer')
    .description('Shows what waits on disk, and how long it has.')
    .option('--watch [seconds]', 'look again and again [default: 2]', parsePositive)
    .option('--json', 'as JSON; with --watch one document a line')
    .addHelpText('after', help)
  return withTarget(command).action((options: BufferOptions) => show(options, terminal))
}

async function show(options: BufferOptions, terminal: Terminal): Promise<void> {
  const client = await findDaemon(options, terminal)
  const { watch } = options
  const { signal } = terminal
  let before: Look | undefined
  for (;;) {
    const buffered = await client.call<Buffered>('/api/v1/buffer', { signal })
    const look = { buffered, at: performance.now() }
    if (options.json === true) terminal.stdout.write(`${JSON.stringify(buffered)}\n`)
    else {
      // Home, and clear from there: the screen is drawn anew where it stands.
      if (watch !== undefined && isColourful(terminal, terminal.stdout))
        terminal.stdout.write('\u001b[H\u001b[J')
      write(look, before, terminal)
    }
    if (watch === undefined) return
    before = look
    await sleep(systemClock, (watch === true ? watchDefaultS : watch) * 1_000, signal)
    if (signal.aborted) return
  }
}

interface Look {
  readonly buffered: Buffered
  /** Milliseconds that never go back. */
  readonly at: number
}

function write(look: Look, before: Look | undefined, terminal: Terminal): void {
  const { buffered } = look
  const now = Date.now()
  const { routes } = buffered
  if (routes.length > 0) {
    const inHead = before === undefined ? [] : ['in/s']
    writeTable(
      terminal.stdout,
      [
        'route',
        'to',
        'waiting',
        'size',
        'of',
        'when full',
        'oldest',
        ...inHead,
        'out/s',
        'empty in',
        'refused',
      ],
      routes.map(route => routeRow(route, now, ratesOf(route, look, before))),
    )
    terminal.stdout.write('\n')
  }
  const outboxes = new Set(routes.map(({ log }) => log))
  const logs = buffered.logs.filter(({ log }) => !outboxes.has(log)).sort((a, b) => b.bytes - a.bytes)
  writeTable(
    terminal.stdout,
    ['log', 'records', 'size', 'of', 'when full', 'oldest'],
    logs.map(log => [log.log, ...logCells(log, now)]),
  )
  for (const uplink of buffered.uplinks)
    terminal.stderr.write(`cloud ${uplinkParts(uplink, now).join(' · ')}\n`)
  terminal.stderr.write(`lost  ${lostText(buffered)}\n`)
}

/** A second: since the last look, or over the last minute. */
function ratesOf(
  route: RouteInfo,
  look: Look,
  before: Look | undefined,
): { readonly in?: number; readonly out: number } {
  const last = before?.buffered.routes.find(({ log }) => log === route.log)
  if (before === undefined || last === undefined) return { out: route.perSecond }
  const seconds = Math.max(0.001, (look.at - before.at) / 1_000)
  return {
    in: (route.appended - last.appended) / seconds,
    out: (route.acknowledged - last.acknowledged) / seconds,
  }
}

function routeRow(
  route: RouteInfo,
  now: number,
  rates: { readonly in?: number; readonly out: number },
): string[] {
  const { records, drainMs, refused } = route
  return [
    route.route ?? `${route.log} (no route any more)`,
    route.uplink,
    ...logCells(route, now),
    ...(rates.in === undefined ? [] : [formatRate(rates.in)]),
    formatRate(rates.out),
    records === 0 ? '–' : drainMs === undefined ? 'unknown' : formatDuration(drainMs),
    formatCount(refused),
  ]
}

function logCells(
  { records, bytes, maxBytes, overflow, oldestAt }: LogInfo | RouteInfo,
  now: number,
): string[] {
  const oldest = records === 0 ? '–' : formatAgo(oldestAt, now)
  return [formatCount(records), formatBytes(bytes), formatBytes(maxBytes), overflow, oldest]
}

function lostText({ ledger }: Buffered): string {
  const reasons = Object.entries(ledger.lost).filter(([, records]) => records > 0)
  const since = reasons.map(([reason, records]) => `${formatCount(records)} ${reason}`).join(', ')
  const entries = ledger.entries === 1 ? '1 entry' : `${formatCount(ledger.entries)} entries`
  return `${since === '' ? 'nothing' : since} since the start · ${entries} in the loss ledger`
}
