/** `fescue pub`: publishes one message through the API. Takes mosquitto_pub's short options, or plain arguments. */
import { Command } from 'commander'
import { FescueError } from '#base/errors.ts'
import { findDaemon, type TargetOptions, withTarget } from './daemon-target.ts'
import { parseQos } from './numbers.ts'
import { readPayload } from './payload.ts'
import type { Terminal } from './terminal.ts'

interface PubOptions extends TargetOptions {
  readonly topic?: string
  readonly message?: string
  readonly qos: number
  readonly retain?: boolean
  readonly nullMessage?: boolean
}

const help = `
Examples:
  fescue pub sensors/kitchen/temperature 21.5
  fescue pub -t sensors/kitchen/temperature -m 21.5 -q 1 -r
  echo '{"celsius":21.5}' | fescue pub sensors/kitchen/temperature -
  fescue pub sensors/kitchen/photo @photo.jpg`

export function build(terminal: Terminal): Command {
  const command = new Command('pub')
    .description('Publishes a message and returns once it is kept as its QoS promises.')
    .argument('[topic]', 'the topic')
    .argument('[message]', 'the payload; @FILE takes a file, - the standard input')
    .option('-t, --topic <topic>', 'the topic')
    .option('-m, --message <message>', 'the payload as it stands')
    .option('-n, --null-message', 'an empty payload: with -r it removes the retained value')
    .option('-q, --qos <0|1|2>', 'quality of service', parseQos, 1)
    .option('-r, --retain', 'keep it as the retained value of the topic')
    .addHelpText('after', help)
  return withTarget(command).action((...args) => publish(args, terminal))
}

async function publish(args: unknown[], terminal: Terminal): Promise<void> {
  const [first, second, options] = args as [string | undefined, string | undefined, PubOptions]
  const topic = options.topic ?? first
  if (topic === undefined)
    throw new FescueError('FESCUE_REQUEST_INVALID', 'pub needs a topic: fescue pub TOPIC MESSAGE')
  const argument = options.topic === undefined ? second : first
  const payload = await payloadOf(argument, options, terminal)
  const client = await findDaemon(options, terminal)
  await client.call('/api/v1/publish', {
    method: 'POST',
    body: {
      topic,
      payloadBase64: payload.toString('base64'),
      qos: options.qos,
      retain: options.retain === true,
    },
    signal: terminal.signal,
  })
}

function payloadOf(argument: string | undefined, options: PubOptions, terminal: Terminal): Promise<Buffer> {
  if (options.message !== undefined) return Promise.resolve(Buffer.from(options.message))
  if (options.nullMessage === true) return Promise.resolve(Buffer.alloc(0))
  if (argument === undefined) {
    throw new FescueError(
      'FESCUE_REQUEST_INVALID',
      'pub needs a message: give one, - for standard input, or -n',
    )
  }
  return readPayload(argument, terminal)
}
