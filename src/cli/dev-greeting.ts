/** What `dev` says once it serves: where everything is, and a line to paste. */
import { readFile } from 'node:fs/promises'
import { networkInterfaces } from 'node:os'
import { join, relative } from 'node:path'
import type { DeviceInfo } from '#api/backend.ts'
import { isLoopback } from '#base/loopback.ts'
import type { DeviceConfig } from '#config/device-config.ts'
import packageJson from '../../package.json' with { type: 'json' }
import type { ApiClient } from './api-client.ts'
import type { DevCloud } from './dev-cloud.ts'
import type { DevScreen } from './dev-screen.ts'

export interface Running {
  readonly config: DeviceConfig
  readonly daemon: { readonly mqttPort: number; readonly httpPort: number }
  readonly cloud: DevCloud
  readonly client: ApiClient
  readonly cwd: string
}

export async function greet(screen: DevScreen, running: Running): Promise<void> {
  const { config, daemon, cloud, client, cwd } = running
  if (!screen.interactive) screen.line(readyLine(running))
  const token = (await readFile(join(config.data, 'token'), 'utf8')).trim()
  const devices = await client.call<readonly DeviceInfo[]>('/api/v1/devices')
  const needsPassword = devices.length + config.users.length > 0
  const row = (label: string, text: string) =>
    screen.line(`  ${screen.style('dim', label.padEnd(10))} ${text}`)
  screen.line()
  screen.line(`  ${screen.style('bold', `Fescue ${packageJson.version}`)}  ${config.device}`)
  row('mqtt', `mqtt://${reachableHost(config.mqtt.host)}:${daemon.mqttPort}`)
  row('page', `http://127.0.0.1:${daemon.httpPort}/#token=${token}`)
  row('cloud', `http://127.0.0.1:${cloud.port}/v1/devices`)
  row('functions', `${shortPath(config.functions, cwd)}/   (save a file, and it is loaded again)`)
  row('data', `${shortPath(config.data, cwd)}/`)
  screen.line()
  screen.line('  Try, in another terminal:')
  const login = needsPassword ? ' -u DEVICE -P PASSWORD' : ''
  const message = `-q 1 -t sensors/kitchen/temperature -m '{"celsius":31}'`
  screen.line(`    mosquitto_pub -p ${daemon.mqttPort}${login} ${message}`)
  screen.line()
}

/** For programs that started `dev`, as `start` has it. */
function readyLine({ config, daemon, cloud }: Running): string {
  const { mqttPort: mqtt, httpPort: http } = daemon
  return JSON.stringify({ msg: 'ready', mqtt, http, cloud: cloud.port, data: config.data, pid: process.pid })
}

function shortPath(path: string, cwd: string): string {
  const short = relative(cwd, path)
  return short.startsWith('..') || short === '' ? path : short
}

/** The address to give to a sensor: that of this machine when the listener is on all of them. */
function reachableHost(host: string): string {
  if (isLoopback(host) || !['0.0.0.0', '::'].includes(host)) return host
  const addresses = Object.values(networkInterfaces()).flatMap(each => each ?? [])
  return addresses.find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? host
}
