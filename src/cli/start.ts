/** `fescue start`: the daemon in the foreground, logging JSON lines; for systemd, containers and terminals. */
import { join } from 'node:path'
import { Command } from 'commander'
import { systemClock } from '#base/clock.ts'
import type { DeviceConfig } from '#config/device-config.ts'
import { parsePort } from './numbers.ts'
import { type ConfigOptions, readableConfig } from './read-config.ts'
import { serveUntil } from './service-life.ts'
import { withRemedy } from './start-error.ts'
import { systemNotifier } from './start-notify.ts'
import type { Terminal } from './terminal.ts'

interface StartOptions extends ConfigOptions {
  readonly mqttHost?: string
  readonly mqttPort?: number
  readonly httpPort?: number
  readonly firstDevice?: string
}

const help = `
Examples:
  fescue start --config device-config/fescue.yaml
  fescue start --config /etc/fescue/fescue.yaml --data /var/lib/fescue --functions /etc/fescue/functions

Flags override variables (FESCUE_MQTT_PORT=1884), which override the config file. Once it serves, it prints a line
{"msg":"ready","mqtt":1883,"http":8484,…}. SIGTERM and Ctrl-C let it finish what it has begun; it is gone within 5 s.
SIGHUP (or fescue config reload) makes it read file, variables and flags again: what changed applies without closing a
connection, or nothing does and the log says why.`

export function build(terminal: Terminal): Command {
  return new Command('start')
    .description('Runs the daemon in the foreground.')
    .option(
      '-c, --config <file>',
      'the config file [env: FESCUE_CONFIG] [default: device-config/fescue.yaml]',
    )
    .option('--data <dir>', 'the data folder [env: FESCUE_DATA]')
    .option('--functions <dir>', 'the folder of functions [env: FESCUE_FUNCTIONS]')
    .option(
      '--mqtt-host <host>',
      'the address for MQTT; 0.0.0.0 is all, and needs a device [env: FESCUE_MQTT_HOST]',
    )
    .option('--mqtt-port <port>', 'the port for MQTT; 0 picks a free one [env: FESCUE_MQTT_PORT]', parsePort)
    .option(
      '--http-port <port>',
      'the port of API and page; 0 picks a free one [env: FESCUE_HTTP_PORT]',
      parsePort,
    )
    .option('--first-device <name>', 'add this device when there is none, and print its password, once')
    .addHelpText('after', help)
    .action((options: StartOptions) => start(options, terminal))
}

async function start(options: StartOptions, terminal: Terminal): Promise<void> {
  // A SIGHUP while it starts is kept: the file may have been read before the change that it tells of.
  let hungUp = () => {
    pending = true
  }
  let pending = false
  using _hangUps = terminal.onHangUp(() => hungUp())
  const source = await readableConfig(options, terminal, {
    'mqtt.host': options.mqttHost,
    'mqtt.port': options.mqttPort,
    'http.port': options.httpPort,
  })
  const { config } = source.loaded
  if (options.firstDevice !== undefined) await greetFirstDevice(config, options.firstDevice, terminal)
  const [{ startDaemon }, { startLogger }] = await Promise.all([
    import('#daemon/daemon.ts'),
    import('./start-logger.ts'),
  ])
  // Every level: the daemon decides, since `log.level` may change.
  const logger = startLogger('debug')
  const notifier = systemNotifier(terminal.env, process.pid, problem =>
    logger.warn({ part: 'systemd' }, problem),
  )
  notifier?.starting()
  const daemon = await startDaemon(source, { logger, clock: systemClock }).catch(async (error: unknown) => {
    throw await withRemedy(error, config)
  })
  // Whoever starts a daemon waits for this line, so no log level hides it.
  const ready = {
    mqtt: daemon.mqttPort,
    http: daemon.httpPort,
    data: config.data,
    pid: process.pid,
    msg: 'ready',
  }
  terminal.stdout.write(`${JSON.stringify({ level: 'info', time: new Date().toISOString(), ...ready })}\n`)
  hungUp = () => void daemon.reload()
  if (pending) hungUp()
  notifier?.ready(`MQTT on port ${daemon.mqttPort}, API on port ${daemon.httpPort}`, () => daemon.alive())
  terminal.signal.addEventListener('abort', () => notifier?.stopping(), { once: true })
  await serveUntil(daemon, terminal.signal)
}

async function greetFirstDevice(config: DeviceConfig, name: string, terminal: Terminal): Promise<void> {
  const { addFirstDevice } = await import('./start-first-device.ts')
  const password = await addFirstDevice(config, name)
  if (password === undefined) return
  terminal.stderr.write(`First start: devices connect with this name and password, which is not shown again.
  mqtt   ${name}   ${password}
  more   fescue devices add NAME
  page   port ${config.http.port}, with the token in ${join(config.data, 'token')}\n`)
}
