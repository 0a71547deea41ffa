/**
 * `fescue dev`, which is what `npm start` runs: everything on this machine, to look at and to play with.
 *
 *   cloud endpoint (child process) ◄── uplink ── daemon (this process) ── executor (child process)
 *                                                  │ api.sock
 *                     keys o p x ──► DevSession ◄──┘ events, status ──► DevScreen
 *
 * Data stays in data/dev from one start to the next, as on a device. What the simulated sensors said does not:
 * missed schedules are skipped, and readings and averages expire (`ttl` in the samples and in the config).
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import { systemClock } from '#base/clock.ts'
import { installation } from '#base/installation.ts'
import type { DeviceConfig } from '#config/device-config.ts'
import { ApiClient } from './api-client.ts'
import { daemonOf } from './daemon-target.ts'
import { type DevCloud, startDevCloud } from './dev-cloud.ts'
import { devDataFolder } from './dev-folder.ts'
import { greet } from './dev-greeting.ts'
import { devLogger } from './dev-logger.ts'
import { DevScreen } from './dev-screen.ts'
import { DevSession } from './dev-session.ts'
import { freePort } from './free-port.ts'
import { parsePort } from './numbers.ts'
import { type ConfigFlags, type ConfigOptions, readableConfig, readConfig } from './read-config.ts'
import { serveUntil } from './service-life.ts'
import { withRemedy } from './start-error.ts'
import type { Terminal } from './terminal.ts'

interface DevOptions extends ConfigOptions {
  readonly mqttPort?: number
  readonly httpPort?: number
  readonly cloudPort?: number
}

const help = `
Examples:
  fescue dev
  fescue dev --functions my-functions --data /tmp/try
  fescue dev --mqtt-port 0                    any free port

Keys: o cuts the link to the cloud and restores it, p publishes a reading, x exits.
Without a terminal it prints plain lines, the first of them {"msg":"ready",…}.`

export function build(terminal: Terminal): Command {
  return new Command('dev')
    .description('Runs daemon, cloud endpoint, sample functions and simulated sensors on this machine.')
    .option('-c, --config <file>', 'the config file [default: device-config/fescue.yaml]')
    .option('--data <dir>', 'the data folder [default: data/dev]')
    .option('--functions <dir>', 'the folder of functions [default: functions, else the samples]')
    .option('--mqtt-port <port>', 'the MQTT port; another one is taken when it is not free', parsePort)
    .option('--http-port <port>', 'the port of API and page, likewise', parsePort)
    .option('--cloud-port <port>', 'the port of the cloud endpoint, likewise', parsePort)
    .addHelpText('after', help)
    .action((options: DevOptions) => dev(options, terminal))
}

async function dev(given: DevOptions, terminal: Terminal): Promise<void> {
  const screen = new DevScreen(terminal)
  const options = withSamples(given, terminal)
  const wanted = await readConfig(
    { ...options, data: options.data ?? terminal.env.FESCUE_DATA ?? devDataFolder(terminal.cwd) },
    terminal,
    { 'mqtt.port': options.mqttPort, 'http.port': options.httpPort },
  )
  const ports = await choosePorts(wanted, options, screen)
  const { startDaemon } = await import('#daemon/daemon.ts')
  await using cloud = await startDevCloud({
    port: ports.cloud,
    data: join(wanted.data, 'cloud'),
    onLine: line => screen.line(screen.style('dim', `cloud: ${line}`)),
  }).catch(async (error: unknown) => {
    throw await withRemedy(error, wanted)
  })
  const flags = flagsFor(wanted, ports, cloud)
  const source = await readableConfig({ ...options, data: wanted.data }, terminal, flags)
  const { config } = source.loaded
  const daemon = await startDaemon(source, { logger: devLogger(screen), clock: systemClock }).catch(
    async (error: unknown) => {
      throw await withRemedy(error, config)
    },
  )
  const client = new ApiClient(daemonOf(config.data))
  const quit = new AbortController()
  const signal = AbortSignal.any([terminal.signal, quit.signal])
  await greet(screen, { config, daemon, cloud, client, cwd: terminal.cwd })
  const session = new DevSession({ client, screen, terminal, clock: systemClock, quit: () => quit.abort() })
  const watching = session.run(signal)
  try {
    await serveUntil(daemon, signal)
  } finally {
    quit.abort()
    await watching
  }
}

interface Ports {
  readonly mqtt: number
  readonly http: number
  readonly cloud: number
}

/** The configured ports, or free ones instead of those that are taken; says so. */
async function choosePorts(config: DeviceConfig, options: DevOptions, screen: DevScreen): Promise<Ports> {
  const choose = async (name: string, host: string, port: number) => {
    const free = await freePort(host, port)
    if (free !== port && port !== 0)
      screen.line(`Port ${port} is taken, so ${name} is on port ${free} this time.`)
    return free
  }
  const [mqtt, http, cloud] = await Promise.all([
    choose('MQTT', config.mqtt.host, config.mqtt.port),
    choose('the page', config.http.host, config.http.port),
    choose('the cloud endpoint', '127.0.0.1', options.cloudPort ?? cloudPort(config)),
  ])
  return { mqtt, http, cloud }
}

/** In a folder that has no functions, or no config: the samples, and the config that goes with them. */
function withSamples(options: DevOptions, { env, cwd }: Terminal): DevOptions {
  const functions = options.functions ?? env.FESCUE_FUNCTIONS
  const config = options.config ?? env.FESCUE_CONFIG
  return {
    ...options,
    ...(config === undefined &&
      !existsSync(join(cwd, 'device-config/fescue.yaml')) && { config: installation.deviceConfig }),
    ...(functions === undefined &&
      !existsSync(join(cwd, 'functions')) && { functions: installation.functions }),
  }
}

const cloudPortDefault = 8585

/** The port that the config sends to, when that is this machine. */
function cloudPort(config: DeviceConfig): number {
  const url = URL.parse(config.uplinks.find(uplink => uplink.name === 'default')?.url ?? '')
  return url?.hostname === '127.0.0.1' && url.port !== '' ? Number(url.port) : cloudPortDefault
}

/** The default uplink goes to our endpoint, whatever the file says; uplinks of other names stay. */
function flagsFor(config: DeviceConfig, ports: Ports, cloud: DevCloud): ConfigFlags {
  const named = config.uplinks.length > 0 && config.uplinks.every(uplink => uplink.name !== 'default')
  return {
    'mqtt.port': ports.mqtt,
    'http.port': ports.http,
    ...(named ? {} : { 'uplink.url': `http://127.0.0.1:${cloud.port}/v1/events` }),
  }
}
