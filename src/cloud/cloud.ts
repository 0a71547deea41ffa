/**
 * The reference receiver of the uplink: keeps each record of each device once, in order of arrival.
 *
 *   uplink ──POST /v1/events──► handler ──► archive (LevelDB, one synced batch for many requests)
 *                                 ▲  │
 *              numbers, records ──┘  └──► 200 once synced
 *
 * Files: handler (HTTP), access (tokens), event and json-text (CloudEvents), archive (disk), device,
 * log-number and range-set (duplicates and gaps).
 */
import type { AddressInfo, Server } from 'node:net'
import type { Clock } from '#base/clock.ts'
import { asFescueError, FescueError } from '#base/errors.ts'
import { checkName } from '#base/ids.ts'
import type { Logger } from '#base/logger.ts'
import { isLoopback } from '#base/loopback.ts'
import type { Service } from '#base/service.ts'
import { Archive } from './archive.ts'
import { Handler } from './handler.ts'

export interface CloudOptions {
  /** Folder of the endpoint's database; made when absent. */
  readonly folder: string
  /** Loopback unless `tokens` has an entry. */
  readonly host: string
  /** 0 picks a free port. */
  readonly port: number
  /** Token by device name; that of `*` reads all devices. Empty or absent: no token is asked for. */
  readonly tokens?: Readonly<Record<string, string>>
  readonly logger: Logger
  readonly clock: Clock
  /** Bytes of one request's body (16 MiB). */
  readonly bodyMaxBytes?: number
  /** Bytes of all bodies under way (64 MiB); above, 503. */
  readonly underWayMaxBytes?: number
}

export interface CloudEndpoint extends Service {
  readonly port: number
  /** Where an uplink posts to. */
  readonly url: string
}

const mebibyte = 1024 * 1024
/** Longer than an uplink's idle time between two probes, so that its connection stays. */
const keepAliveMs = 90_000
const requestMs = 300_000

/** Opens the database and listens. Errors: FESCUE_LISTEN_NO_USERS, FESCUE_PORT_TAKEN, FESCUE_STORE_LOCKED, FESCUE_STORE_FAILED. */
export async function startCloud(options: CloudOptions): Promise<CloudEndpoint> {
  const { folder, host, port, clock, logger, tokens = {} } = options
  for (const device of Object.keys(tokens)) if (device !== '*') checkName('device', device)
  if (!isLoopback(host) && Object.keys(tokens).length === 0) {
    throw new FescueError(
      'FESCUE_LISTEN_NO_USERS',
      `an endpoint on ${host} needs a token per device; without tokens use 127.0.0.1`,
    )
  }
  await using starting = new AsyncDisposableStack()
  const archive = starting.use(await Archive.open(folder, clock, logger))
  const limits = {
    bodyMaxBytes: options.bodyMaxBytes ?? 16 * mebibyte,
    underWayMaxBytes: options.underWayMaxBytes ?? 64 * mebibyte,
  }
  const handler = new Handler(archive, tokens, limits)
  // Not as an import: an ES module import of node:http loads undici.
  const http = process.getBuiltinModule('node:http')
  const server = http.createServer({
    keepAliveTimeout: keepAliveMs,
    requestTimeout: requestMs,
    noDelay: true,
  })
  server.on('request', (request, response) => void handler.handle(request, response))
  await listen(server, port, host)
  starting.defer(() => closed(server))
  const bound = (server.address() as AddressInfo).port
  const ended = Promise.withResolvers<void>()
  const resources = starting.move()
  return {
    name: 'cloud',
    port: bound,
    url: `http://${host.includes(':') ? `[${host}]` : host}:${bound}/v1/events`,
    run: () => ended.promise,
    async drain(graceMs) {
      server.close()
      server.closeIdleConnections()
      const cancel = clock.after(graceMs, () => server.closeAllConnections())
      await closed(server, false)
      cancel()
    },
    async [Symbol.asyncDispose]() {
      await resources.disposeAsync()
      ended.resolve()
    },
  }
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const taken = error.code === 'EADDRINUSE'
      reject(
        taken
          ? new FescueError('FESCUE_PORT_TAKEN', `port ${port} is taken`, { cause: error })
          : asFescueError(error),
      )
    })
    server.listen(port, host, resolve)
  })
}

/** Resolves once the server is closed; with `force` it cuts the connections that remain. */
function closed(server: Server & { closeAllConnections?: () => void }, force = true): Promise<void> {
  return new Promise(resolve => {
    server.close(() => resolve())
    if (force) server.closeAllConnections?.()
  })
}
