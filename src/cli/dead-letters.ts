/**
 * `fescue dead-letters`: the messages that a function failed too often on, and the records that a receiver would not
 * take; look, try again, or let go.
 */
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
  readonly route?: string
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
  fescue dead-letters drop thermostat --all         for ever
  fescue dead-letters list --route alarms           what the receiver of this route refused
  fescue dead-letters retry route:alarms --all      send it again`

export function build(terminal: Terminal): Command {
  const command = new Command('dead-letters')
    .description('The messages that a function failed too often on, and those that a receiver refused.')
    .usage('list|retry|drop [options]')
    .addHelpText('after', help)
  withTarget(command.command('list').description('Lists them, newest first.'))
    .option('--function <function>', 'only those of this function')
    .option('--route <route>', 'only those that the receiver of this route refused')
    .option('--limit <n>', 'at most this many', parsePositive, 100)
    .option('--json', 'as JSON, whole payloads and stack traces')
    .action((options: ListOptions) => list(options, terminal))
  for (const [verb, description] of [
    ['retry', 'Gives them to the function, or sends them to the receiver, again.'],
    ['drop', 'Deletes them for good.'],
  ] as const) {
    withTarget(command.command(verb).description(description))
      .argument('<function>', 'whose: a function, or route:NAME')
      .argument('[offset...]', 'which, by the offset that list shows', collectOffsets)
      .option('--all', 'all of it')
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
  if (options.route !== undefined) query.set('route', options.route)
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

/** Names have no colon, so a function is never taken for a route. */
const routeMark = 'route:'
const head = ['of', 'offset', 'when', 'topic', 'payload', 'attempts', 'error']

function row(letter: DeadLetter, now: number): string[] {
  const { errorType, errorMessage } = letter.error
  return [
    letter.function ?? `${routeMark}${letter.route ?? ''}`,
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
  const whose = name.startsWith(routeMark) ? { route: name.slice(routeMark.length) } : { function: name }
  const { count } = await client.call<{ count: number }>(`/api/v1/dead-letters/${verb}`, {
    method: 'POST',
    body: options.all === true ? whose : { ...whose, offsets },
    signal: terminal.signal,
  })
  if (options.json === true) terminal.stdout.write(`${JSON.stringify({ ...whose, count })}\n`)
  else
    terminal.stderr.write(`${verb === 'retry' ? 'Retried' : 'Dropped'} ${formatCount(count)} of ${name}.\n`)
}

function collectOffsets(text: string, before: number[] | undefined): number[] {
  return [...(before ?? []), parseOffset(text)]
}
