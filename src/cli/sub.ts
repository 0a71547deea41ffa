/** `fescue sub`: prints messages as they are published, one line each, until it is stopped. */
import { Command } from 'commander'
import { FescueError } from '#base/errors.ts'
import { findDaemon, type TargetOptions, withTarget } from './daemon-target.ts'
import { formatTime } from './format.ts'
import { type ApiMessage, payloadText } from './messages.ts'
import { parsePositive } from './numbers.ts'
import type { Terminal } from './terminal.ts'

interface SubOptions extends TargetOptions {
  readonly topic?: string
  readonly count?: number
  readonly wait?: number
  readonly verbose?: boolean
  readonly json?: boolean
}

const help = `
Examples:
  fescue sub 'sensors/#'
  fescue sub -t 'actuators/+/fan' -C 1 -W 10     the first one, within 10 seconds
  fescue sub '#' --json | jq .topic

On a terminal each line shows time, topic and payload; into a pipe -v gives "topic payload" and without it the
payload alone, as mosquitto_sub does.`

export function build(terminal: Terminal): Command {
  const command = new Command('sub')
    .description('Prints messages as they are published.')
    .argument('[filter]', 'the topic filter', '#')
    .option('-t, --topic <filter>', 'the topic filter')
    .option('-C, --count <n>', 'end after this many messages', parsePositive)
    .option('-W, --wait <seconds>', 'end with code 7 when this time is over', parsePositive)
    .option('-v, --verbose', 'print the topic too')
    .option('--json', 'one JSON document a line')
    .addHelpText('after', help)
  return withTarget(command).action((filter: string, options: SubOptions) => print(filter, options, terminal))
}

async function print(argument: string, options: SubOptions, terminal: Terminal): Promise<void> {
  const client = await findDaemon(options, terminal)
  const filter = encodeURIComponent(options.topic ?? argument)
  const late = options.wait === undefined ? undefined : AbortSignal.timeout(options.wait * 1_000)
  const signal = late === undefined ? terminal.signal : AbortSignal.any([terminal.signal, late])
  let left = options.count ?? Number.POSITIVE_INFINITY
  try {
    for await (const message of client.stream<ApiMessage>(`/api/v1/messages?filter=${filter}`, signal)) {
      terminal.stdout.write(line(message, options, terminal))
      left -= 1
      if (left <= 0) return
    }
  } catch (error) {
    if (!signal.aborted) throw error
  }
  if (late?.aborted) throw new FescueError('FESCUE_TIMED_OUT', `no more messages within ${options.wait} s`)
  if (!terminal.signal.aborted) throw new FescueError('FESCUE_STOPPING', 'the daemon ended the stream')
}

/** As bytes, because into a pipe a payload goes as it came. */
function line(message: ApiMessage, options: SubOptions, terminal: Terminal): string | Buffer {
  if (options.json === true) return `${JSON.stringify(message)}\n`
  if (terminal.stdout.isTTY === true) {
    const topic = payloadText({ payload: message.topic }, 120)
    return `${formatTime(message.time)}  ${topic}  ${payloadText(message, 200)}\n`
  }
  const topic = options.verbose === true ? `${message.topic} ` : ''
  return Buffer.concat([Buffer.from(topic), payloadOf(message), Buffer.from('\n')])
}

function payloadOf({ payload, payloadBase64 = '' }: ApiMessage): Buffer {
  return payload === undefined ? Buffer.from(payloadBase64, 'base64') : Buffer.from(payload)
}
