/** `fescue functions list`: what is loaded, what starts it and how it is doing. */
import { Command } from 'commander'
import type { FunctionInfo } from '#api/backend.ts'
import { findDaemon, type TargetOptions, withTarget } from './daemon-target.ts'
import { formatCount } from './format.ts'
import { writeTable } from './table.ts'
import type { Terminal } from './terminal.ts'

interface FunctionsOptions extends TargetOptions {
  readonly json?: boolean
}

const help = `
Examples:
  fescue functions list
  fescue functions list --json | jq '.[] | select(.error)'`

export function build(terminal: Terminal): Command {
  const command = new Command('functions')
    .description('The functions of the device.')
    .usage('list [options]')
    .addHelpText('after', help)
  withTarget(command.command('list').description('Lists the functions.'))
    .option('--json', 'as JSON')
    .action((options: FunctionsOptions) => list(options, terminal))
  return command
}

async function list(options: FunctionsOptions, terminal: Terminal): Promise<void> {
  const client = await findDaemon(options, terminal)
  const functions = await client.call<FunctionInfo[]>('/api/v1/functions', { signal: terminal.signal })
  if (options.json === true) terminal.stdout.write(`${JSON.stringify(functions)}\n`)
  else if (functions.length === 0) terminal.stderr.write('There are no functions yet.\n')
  else writeTable(terminal.stdout, head, functions.map(row))
  if (options.json === true) return
  for (const { name, reason } of functions)
    if (reason !== undefined) terminal.stderr.write(`\n${name}: ${reason}\n`)
}

const head = ['function', 'state', 'triggers', 'waiting', 'ok', 'failed', 'dead letters', 'revision']

function row(entry: FunctionInfo): string[] {
  const { ok, error, timeout } = entry.invocations
  const triggers = entry.triggers.map(({ topic, schedule }) => topic ?? schedule ?? '')
  const counts = [entry.inbox.records, ok, error + timeout, entry.deadLetters].map(formatCount)
  return [entry.name, entry.state, triggers.join(', '), ...counts, entry.revision?.slice(0, 8) ?? '–']
}
