/** `fescue cloud`: the reference receiver of an uplink, in the foreground. */
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { Command } from 'commander'
import { systemClock } from '#base/clock.ts'
import { FescueError } from '#base/errors.ts'
import { parsePort } from './numbers.ts'
import { serveUntil } from './service-life.ts'
import type { Terminal } from './terminal.ts'

interface CloudOptions {
  readonly port: number
  readonly host: string
  readonly data: string
  readonly tokens?: string
  readonly untilStdinEnds?: boolean
}

const help = `
Examples:
  fescue cloud --port 8585 --data data/cloud
  fescue cloud --host 0.0.0.0 --tokens tokens.json        {"greenhouse-1": "…", "*": "… reads all devices"}
  curl http://127.0.0.1:8585/v1/devices
  curl 'http://127.0.0.1:8585/v1/devices/greenhouse-1/records?after=-1&limit=10'

Devices send to POST /v1/events; each record is kept once, in order of arrival, and synced before it is acknowledged.`

export function build(terminal: Terminal): Command {
  return new Command('cloud')
    .description('Runs the cloud endpoint: keeps what devices send, counts duplicates and gaps.')
    .option('--port <port>', 'the HTTP port; 0 picks a free one', parsePort, 8585)
    .option('--host <host>', 'the address to listen on; other than loopback needs --tokens', '127.0.0.1')
    .option('--data <dir>', 'where the records are kept', 'data/cloud')
    .option('--tokens <file>', 'JSON file with a token for each device')
    .option('--until-stdin-ends', 'end when the standard input does, for programs that start it')
    .addHelpText('after', help)
    .action((options: CloudOptions) => cloud(options, terminal))
}

async function cloud(options: CloudOptions, terminal: Terminal): Promise<void> {
  const [{ startCloud }, { startLogger }] = await Promise.all([
    import('#cloud/cloud.ts'),
    import('./start-logger.ts'),
  ])
  const logger = startLogger('info')
  const endpoint = await startCloud({
    folder: resolve(terminal.cwd, options.data),
    host: options.host,
    port: options.port,
    logger,
    clock: systemClock,
    ...(options.tokens === undefined
      ? {}
      : { tokens: await readTokens(resolve(terminal.cwd, options.tokens)) }),
  })
  logger.info({ http: endpoint.port, url: endpoint.url, pid: process.pid }, 'ready')
  await serveUntil(endpoint, options.untilStdinEnds === true ? untilStdinEnds(terminal) : terminal.signal)
}

function untilStdinEnds(terminal: Terminal): AbortSignal {
  const ended = new AbortController()
  terminal
    .stdin()
    .on('end', () => ended.abort())
    .on('error', () => ended.abort())
    .resume()
  return AbortSignal.any([terminal.signal, ended.signal])
}

async function readTokens(path: string): Promise<Record<string, string>> {
  try {
    const value: unknown = JSON.parse(await readFile(path, 'utf8'))
    if (isTokens(value)) return value
  } catch (cause) {
    throw new FescueError('FESCUE_CONFIG_UNREADABLE', `cannot read the tokens in ${path}: ${String(cause)}`, {
      cause,
    })
  }
  throw new FescueError('FESCUE_CONFIG_INVALID', `${path}: write {"DEVICE": "TOKEN", …}`)
}

function isTokens(value: unknown): value is Record<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  return Object.values(value).every(token => typeof token === 'string' && token !== '')
}
