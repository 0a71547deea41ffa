/** `fescue buffer`: what waits in which log, and how the links to the cloud are. */
import { Command } from 'commander'
import type { Buffered, LogInfo } from '#api/backend.ts'
import { findDaemon, type TargetOptions, withTarget } from './daemon-target.ts'
import { formatAgo, formatBytes, formatCount } from './format.ts'
import { uplinkParts } from './status.ts'
import { writeTable } from './table.ts'
import type { Terminal } from './terminal.ts'

interface BufferOptions extends TargetOptions {
  readonly json?: boolean
}

const help = `
Examples:
  fescue buffer
  fescue buffer --json | jq '.logs[] | select(.records > 0)'

Logs: outbox.* waits for the cloud, inbox.* for a function, session.* for an MQTT client that is away, dead.* for you.`

export function build(terminal: Terminal): Command {
  const command = new Command('buffer')
    .description('Shows what waits on disk.')
    .option('--json', 'as JSON')
    .addHelpText('after', help)
  return withTarget(command).action((options: BufferOptions) => show(options, terminal))
}

async function show(options: BufferOptions, terminal: Terminal): Promise<void> {
  const client = await findDaemon(options, terminal)
  const buffered = await client.call<Buffered>('/api/v1/buffer', { signal: terminal.signal })
  if (options.json === true) {
    terminal.stdout.write(`${JSON.stringify(buffered)}\n`)
    return
  }
  const now = Date.now()
  const logs = [...buffered.logs].sort((a, b) => b.bytes - a.bytes)
  writeTable(
    terminal.stdout,
    ['log', 'records', 'size', 'of', 'when full', 'oldest'],
    logs.map(log => row(log, now)),
  )
  for (const uplink of buffered.uplinks)
    terminal.stderr.write(`cloud ${uplinkParts(uplink, now).join(' · ')}\n`)
}

function row(log: LogInfo, now: number): string[] {
  const { records, bytes, maxBytes, overflow, oldestAt } = log
  const oldest = records === 0 ? '–' : formatAgo(oldestAt, now)
  return [log.log, formatCount(records), formatBytes(bytes), formatBytes(maxBytes), overflow, oldest]
}
