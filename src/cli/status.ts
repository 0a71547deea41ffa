/** `fescue status`: how the daemon, its link and its buffers are, on one screen. */
import { Command } from 'commander'
import type { Status, UplinkInfo } from '#api/backend.ts'
import { findDaemon, type TargetOptions, withTarget } from './daemon-target.ts'
import { formatAgo, formatBytes, formatCount, formatDuration } from './format.ts'
import type { Terminal } from './terminal.ts'

interface StatusOptions extends TargetOptions {
  readonly json?: boolean
}

const help = `
Examples:
  fescue status
  fescue status --json | jq .uplinks
  fescue status --url http://127.0.0.1:8484 --token "$(cat data/token)"`

export function build(terminal: Terminal): Command {
  const command = new Command('status')
    .description('Shows how the daemon, its link and its buffers are.')
    .option('--json', 'as JSON')
    .addHelpText('after', help)
  return withTarget(command).action((options: StatusOptions) => show(options, terminal))
}

async function show(options: StatusOptions, terminal: Terminal): Promise<void> {
  const client = await findDaemon(options, terminal)
  const status = await client.call<Status>('/api/v1/status', { signal: terminal.signal })
  if (options.json === true) terminal.stdout.write(`${JSON.stringify(status)}\n`)
  else terminal.stdout.write(`${statusLines(status, Date.now()).join('\n')}\n`)
}

/** The screen of a status at a moment (ms since the epoch). */
export function statusLines(status: Status, now: number): readonly string[] {
  const { mqtt, http, store } = status
  const health = status.state === 'ok' ? 'ok' : `DEGRADED: ${status.message ?? 'see the log'}`
  return [
    `fescue ${status.version}  ${status.device}  up ${formatDuration(now - status.startedAt)}  ${health}`,
    row('mqtt', `${mqtt.host}:${mqtt.port}`, `${mqtt.clients} clients`, `${mqtt.sessions} sessions kept`),
    row('http', `${http.host}:${http.port}`),
    row('functions', ...functionsText(status)),
    ...uplinkRows(status.uplinks, now),
    row('messages', ...trafficText(status)),
    row('disk', `${formatBytes(store.bytesWritten)} written`, `${formatCount(store.syncs)} syncs`),
    ...(status.state === 'ok' && status.message !== undefined ? [row('database', status.message)] : []),
    row('memory', formatBytes(status.memoryBytes)),
    row('lost', lostText(store.lost)),
  ]
}

function row(label: string, ...parts: readonly string[]): string {
  return `${label.padEnd(10)}${parts.join(' · ')}`
}

function functionsText({ functions: { total, failed } }: Status): string[] {
  return failed === 0 ? [`${total}`] : [`${total}`, `${failed} failed, see fescue functions list`]
}

function uplinkRows(uplinks: readonly UplinkInfo[], now: number): string[] {
  if (uplinks.length === 0) return [row('cloud', 'none configured')]
  return uplinks.map(uplink => row('cloud', ...uplinkParts(uplink, now)))
}

/** How a link is: for status and buffer. */
export function uplinkParts(uplink: UplinkInfo, now: number): string[] {
  const { name, state, reason, records, bytes, oldestAt, drainMs, lastAckAt } = uplink
  const parts = [`${name} ${state}${reason === undefined ? '' : ` (${reason})`}`]
  parts.push(records === 0 ? 'nothing waits' : `${formatCount(records)} waiting (${formatBytes(bytes)})`)
  if (records > 0 && oldestAt !== undefined) parts.push(`oldest ${formatAgo(oldestAt, now)}`)
  if (records > 0 && drainMs !== undefined) parts.push(`done in about ${formatDuration(drainMs)}`)
  parts.push(`last acknowledged ${formatAgo(lastAckAt, now)}`)
  return parts
}

/** The share of the traffic that a power cut could take with it. */
function trafficText({ traffic: { published, byClass } }: Status): string[] {
  const soft = byClass.process + byClass.memory
  const percent = published === 0 ? 0 : Math.round((100 * soft) / published)
  const since = `${formatCount(published)} since the start`
  return soft === 0
    ? [since]
    : [since, `${percent} % of them not synced (${formatCount(byClass.memory)} not kept)`]
}

function lostText(lost: Status['store']['lost']): string {
  const reasons = Object.entries(lost).filter(([, records]) => records > 0)
  if (reasons.length === 0) return 'nothing'
  return reasons.map(([reason, records]) => `${formatCount(records)} ${reason}`).join(', ')
}
