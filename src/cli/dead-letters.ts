/** `fescue dead-letters`: the messages that a function failed too often on; look, try again, or let go. */
import { Command } from 'commander'
import type { DeadLetter } from '#api/backend.ts'
import { FescueError } from '#base/errors.ts'
import { findDaemon, type TargetOptions, withTarget } from './daemon-target.ts'
import { formatAgo, formatCount } from './format.ts'
import { payloadText } from './messages.ts'
import { parseOffset, parsePositive } from './numbers.ts'
import { writeTable } from './table.ts'
import type { Terminal } from './terminal.ts'

interface ListOptions extends TargetOptions {
  readonly function?: string
  readonly limit: number
  readonly json?: boolean
}

interface SelectOptions extends TargetOptions {
  readonly all?: boolean
  readonly json?: boolean
}

const help = `
Examples:
  fescue dead-letters list
  fescue dead-letters list --function thermostat --json | jq '.[0].error'
  fescue dead-letters retry thermostat 17 18        these two, as new messages
  fescue dead-letters retry thermostat --all
  fescue dead-letters drop thermostat --all         for ever`

export function build(terminal: Terminal): Command {
  const command = new Command('dead-letters')
    .description('The messages that a function failed too often on.')
    .usage('list|retry|drop [options]')
    .addHelpText('after', help)
  withTarget(command.command('list').description('Lists them, newest first.'))
    .option('--function <name>', 'only those of this function')
    .option('--limit <n>', 'at most this many', parsePositive, 100)
    .option('--json', 'as JSON, whole payloads and stack traces')
    .action((options: ListOptions) => list(options, terminal))
  for (const [verb, description] of [
    ['retry', 'Gives them to the function again, as new messages.'],
    ['drop', 'Deletes them; the loss ledger counts them.'],
  ] as const) {
    withTarget(command.command(verb).description(description))
      .argument('<function>', 'whose')
      .argument('[offset...]', 'which, by the offset that list shows', collectOffsets)
      .option('--all', 'all of this function')
      .option('--json', 'as JSON')
      .action((name: string, offsets: number[] | undefined, options: SelectOptions) =>
        select(verb, name, offsets ?? [], options, terminal),
      )
  }
  return command
}

async function list(options: ListOptions, terminal: Terminal): Promise<void> {
  const client = await findDaemon(options, terminal)
  const query = new URLSearchParams({ limit: String(options.limit) })
  if (options.function !== undefined) query.set('function', options.function)
  const letters = await client.call<DeadLetter[]>(`/api/v1/dead-letters?${query}`, {
    signal: terminal.signal,
  })
  if (options.json === true) terminal.stdout.write(`${JSON.stringify(letters)}\n`)
  else if (letters.length === 0) terminal.stderr.write('There are no dead letters.\n')
  else
    writeTable(
      terminal.stdout,
      head,
      letters.map(letter => row(letter, Date.now())),
    )
}

const head = ['function', 'offset', 'when', 'topic', 'payload', 'attempts', 'error']

function row(letter: DeadLetter, now: number): string[] {
  const { errorType, errorMessage } = letter.error
  return [
    letter.function,
    String(letter.offset),
    formatAgo(letter.time, now),
    letter.topic,
    payloadText(letter, 40),
    String(letter.attempts),
    `${errorType}: ${errorMessage}`,
  ]
}

async function select(
  verb: 'retry' | 'drop',
  name: string,
  offsets: readonly number[],
  options: SelectOptions,
  terminal: Terminal,
): Promise<void> {
  if (offsets.length > 0 === (options.all === true))
    throw new FescueError('FESCUE_REQUEST_INVALID', `dead-letters ${verb}: name offsets, or say --all`)
  const client = await findDaemon(options, terminal)
  const { count } = await client.call<{ count: number }>(`/api/v1/dead-letters/${verb}`, {
    method: 'POST',
    body: options.all === true ? { function: name } : { function: name, offsets },
    signal: terminal.signal,
  })
  if (options.json === true) terminal.stdout.write(`${JSON.stringify({ function: name, count })}\n`)
  else
    terminal.stderr.write(`${verb === 'retry' ? 'Retried' : 'Dropped'} ${formatCount(count)} of ${name}.\n`)
}

function collectOffsets(text: string, before: number[] | undefined): number[] {
  return [...(before ?? []), parseOffset(text)]
}
