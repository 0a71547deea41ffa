/**
 * `fescue config`: what is in force and where it came from, whether a file is right, what a key means, and taking up
 * a change.
 */
import { Command } from 'commander'
import type { ConfigValue } from '#api/backend.ts'
import { FescueError } from '#base/errors.ts'
import { reload } from './config-reload.ts'
import { validate } from './config-validate.ts'
import { findDaemon, type TargetOptions, withTarget } from './daemon-target.ts'
import { valueText } from './format.ts'
import { configPlaces } from './read-config.ts'
import { writeTable } from './table.ts'
import type { Terminal } from './terminal.ts'

interface ShowOptions extends TargetOptions {
  readonly offline?: boolean
  readonly json?: boolean
}

const help = `
Examples:
  fescue config show                      what is in force, and where each value came from
  fescue config show --json | jq -r '.[] | select(.origin.kind != "default") | .key'
  fescue config validate fescue.yaml      code 5 when it is not valid
  fescue config explain limits.inbox      what it means, its default, an example
  fescue config explain                   all keys
  fescue config reload                    apply what changed, without closing a connection`

export function build(terminal: Terminal): Command {
  const command = new Command('config')
    .description('The configuration: what is in force, whether a file is right, what keys mean.')
    .usage('show|validate|explain|reload [options]')
    .addHelpText('after', help)
  withTarget(
    command
      .command('show')
      .description(
        'Shows every value with its origin: of the running daemon, else as a start would read it.',
      ),
  )
    .option('--offline', 'as a start would read it now, whatever runs')
    .option('--json', 'as JSON')
    .action((options: ShowOptions) => show(options, terminal))
  command
    .command('validate')
    .description('Checks a config file, together with the variables FESCUE_…; code 5 when it is not valid.')
    .argument('[file]', 'the file [default: the one that start would read]')
    .option('--json', 'as JSON')
    .action((file: string | undefined, options: { json?: boolean }) => validate(file, options, terminal))
  command
    .command('explain')
    .description(
      'Says what a key means, its type, default and variable, and whether a change needs a restart.',
    )
    .argument('[key]', 'the key, such as mqtt.port or routes.filter; all keys without one')
    .option('--json', 'as JSON')
    .action(async (key: string | undefined, options: { json?: boolean }) => {
      const { explain } = await import('./config-explain.ts')
      explain(key, options, terminal)
    })
  withTarget(
    command
      .command('reload')
      .description('Makes the daemon read its configuration again and apply it, all of it or nothing.'),
  )
    .option('--json', 'as JSON')
    .action((options: TargetOptions & { json?: boolean }) => reload(options, terminal))
  return command
}

async function show(options: ShowOptions, terminal: Terminal): Promise<void> {
  const values = await valuesOf(options, terminal)
  if (options.json === true) {
    terminal.stdout.write(`${JSON.stringify(values)}\n`)
    return
  }
  writeTable(
    terminal.stdout,
    ['key', 'value', 'from'],
    values.map(({ key, value, origin }) => [key, valueText(value), originText(origin)]),
  )
}

async function valuesOf(options: ShowOptions, terminal: Terminal): Promise<readonly ConfigValue[]> {
  if (options.offline !== true) {
    try {
      const client = await findDaemon(options, terminal)
      return await client.call<ConfigValue[]>('/api/v1/config', { signal: terminal.signal })
    } catch (error) {
      const absent = error instanceof FescueError && error.code === 'FESCUE_DAEMON_UNREACHABLE'
      if (!absent || options.url !== undefined) throw error
      terminal.stderr.write('No daemon answers: this is what a start would read now.\n')
    }
  }
  const [{ effectiveConfig }, { loadConfig }] = await Promise.all([
    import('#config/effective-config.ts'),
    import('#config/load-config.ts'),
  ])
  const loaded = await loadConfig(configPlaces(options, terminal))
  for (const warning of loaded.warnings) terminal.stderr.write(`${warning}\n`)
  return effectiveConfig(loaded)
}

function originText({ kind, where }: ConfigValue['origin']): string {
  return kind === 'default' ? 'default' : where
}
