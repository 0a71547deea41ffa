/**
 * Which daemon a command speaks to.
 *
 *   --url URL (--token T, or FESCUE_TOKEN)   over HTTP
 *   --data DIR (or FESCUE_DATA)              over DIR/api.sock
 *   neither                                  the data folder of the config file; where no daemon runs there,
 *                                            the one of `fescue dev`
 */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import { FescueError } from '#base/errors.ts'
import { ApiClient, type DaemonAddress } from './api-client.ts'
import { devDataFolder } from './dev-folder.ts'
import type { Terminal } from './terminal.ts'

export interface TargetOptions {
  readonly config?: string
  readonly data?: string
  readonly url?: string
  readonly token?: string
}

/** Adds the options that say which daemon is meant. */
export function withTarget(command: Command): Command {
  return command
    .option('--data <dir>', "the daemon's data folder [env: FESCUE_DATA]")
    .option('--url <url>', "the daemon's address, such as http://127.0.0.1:8484")
    .option('--token <token>', 'the token of its API, which stands in DIR/token [env: FESCUE_TOKEN]')
    .option('-c, --config <file>', 'the config file that names the data folder')
}

/** A client of the daemon that the options mean. Errors: FESCUE_REQUEST_INVALID, FESCUE_CONFIG_INVALID. */
export async function findDaemon(options: TargetOptions, terminal: Terminal): Promise<ApiClient> {
  const { url } = options
  if (url !== undefined) return new ApiClient(overHttp(url, options.token ?? terminal.env.FESCUE_TOKEN))
  const folder = await dataFolder(options, terminal)
  return new ApiClient(daemonOf(folder))
}

/** The daemon of a data folder: whoever may open the folder's socket may call it. */
export function daemonOf(folder: string): DaemonAddress {
  const socketPath = join(folder, 'api.sock')
  return { socketPath, name: socketPath }
}

/** The data folder that the options mean, absolute. */
export async function dataFolder(options: TargetOptions, terminal: Terminal): Promise<string> {
  const named = options.data ?? terminal.env.FESCUE_DATA
  if (named !== undefined) return resolve(terminal.cwd, named)
  const { readConfig } = await import('./read-config.ts')
  const configured = (await readConfig(options, terminal)).data
  const dev = devDataFolder(terminal.cwd)
  if (options.config !== undefined || existsSync(join(configured, 'api.sock'))) return configured
  return existsSync(join(dev, 'api.sock')) ? dev : configured
}

function overHttp(text: string, token: string | undefined): DaemonAddress {
  const url = URL.parse(text.includes('://') ? text : `http://${text}`)
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new FescueError(
      'FESCUE_REQUEST_INVALID',
      `--url ${text}: write http://HOST:PORT or https://HOST:PORT`,
    )
  }
  return { url, name: url.origin, ...(token === undefined ? {} : { token }) }
}
