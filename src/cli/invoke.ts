/** `fescue invoke`: calls a function with an event and prints what it returns. */
import { Command } from 'commander'
import { FescueError } from '#base/errors.ts'
import { findDaemon, type TargetOptions, withTarget } from './daemon-target.ts'
import { formatPayload } from './format.ts'
import { readPayload } from './payload.ts'
import type { Terminal } from './terminal.ts'

/** The longest timeout that a manifest may give, and some for waiting. */
const invokeTimeoutMs = 20 * 60_000
const traceCharactersMax = 400

interface InvokeDetail {
  readonly invocationId: string
  readonly durationMs: number
  /** Messages that it published. */
  readonly published: number
  readonly value: unknown
}

interface InvokeOptions extends TargetOptions {
  readonly topic?: string
  readonly json?: boolean
}

const help = `
Examples:
  fescue invoke thermostat '{"celsius":31}' --topic sensors/kitchen/temperature
  fescue invoke thermostat @event.json
  echo '{}' | fescue invoke room-average -

What the function does (state, publishes) is committed as for any message. Code 6 says that it threw, 7 that it
ran too long.`

export function build(terminal: Terminal): Command {
  const command = new Command('invoke')
    .description('Calls a function and prints what it returns.')
    .argument('<function>', 'the function')
    .argument('[payload]', 'the event; @FILE takes a file, - the standard input', '{}')
    .option('--topic <topic>', 'the topic that the function sees')
    .option('--json', 'the whole answer: value, id, duration, number of messages published')
    .addHelpText('after', help)
  return withTarget(command).action((name: string, payload: string, options: InvokeOptions) =>
    invoke(name, payload, options, terminal),
  )
}

async function invoke(
  name: string,
  argument: string,
  options: InvokeOptions,
  terminal: Terminal,
): Promise<void> {
  const payload = await readPayload(argument, terminal)
  const client = await findDaemon(options, terminal)
  const query = new URLSearchParams({ detail: '1' })
  if (options.topic !== undefined) query.set('topic', options.topic)
  try {
    const answer = await client.call<InvokeDetail>(
      `/api/v1/functions/${encodeURIComponent(name)}/invoke?${query}`,
      { method: 'POST', bytes: payload, signal: terminal.signal, timeoutMs: invokeTimeoutMs },
    )
    terminal.stdout.write(`${JSON.stringify(options.json === true ? answer : answer.value)}\n`)
  } catch (error) {
    for (const line of traceOf(error)) terminal.stderr.write(`    ${line}\n`)
    throw error
  }
}

/** The stack trace that came with a function's failure. */
function traceOf(error: unknown): readonly string[] {
  if (!(error instanceof FescueError)) return []
  const trace = (error.cause as { error?: { trace?: unknown } } | undefined)?.error?.trace
  return Array.isArray(trace) ? trace.map(line => formatPayload(String(line), traceCharactersMax)) : []
}
