/**
 * The HTTP API of a daemon: two listeners, one table of routes.
 *
 *   DIR/api.sock (0600) ──┐                              files beside: backend (what it asks of the daemon),
 *                         ├─ guard ─ route ─ reply       guard, route-table, routes, request, reply,
 *   http.host:port ───────┘    └ live-stream             live-stream, message-json, pages, metrics
 *
 * node:http is taken with `getBuiltinModule`: importing it as an ES module loads undici (13 MB).
 */
import { once } from 'node:events'
import { chmod, rm } from 'node:fs/promises'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { ListenOptions } from 'node:net'
import { join } from 'node:path'
import type { Clock } from '#base/clock.ts'
import { asFescueError, FescueError } from '#base/errors.ts'
import type { Logger } from '#base/logger.ts'
import type { Service } from '#base/service.ts'
import type { Backend } from './backend.ts'
import { Guard } from './guard.ts'
import { LiveStream } from './live-stream.ts'
import type { Exposition } from './metrics.ts'
import { pageRoutes } from './pages.ts'
import { problem, type Reply } from './reply.ts'
import { ApiRequest } from './request.ts'
import { RouteTable } from './route-table.ts'
import { routesOf } from './routes.ts'

export interface ApiOptions {
  readonly backend: Backend
  /** Where `api.sock` is made. The store's lock must be held: a socket that lies there is taken for a left-over. */
  readonly dataFolder: string
  readonly http: { readonly host: string; readonly port: number; readonly hosts: readonly string[] }
  readonly token: string
  readonly metrics: Exposition
  /** Folder of the page's files. */
  readonly pages: string | undefined
  readonly clock: Clock
  readonly logger: Logger
}

export interface Api extends Service {
  readonly port: number
  /** Undefined when the data folder's path is too long for a socket (unix(7): 107 bytes). */
  readonly socketPath: string | undefined
}

/** Streams open at once. */
export const streamsMax = 32
/** Connections open at once, per listener. */
const connectionsMax = 128
/** unix(7): the path of a socket, without its NUL. */
const socketPathMaxBytes = 107

const serverOptions = {
  headersTimeout: 5_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 1_000,
  maxHeaderSize: 16 * 1024,
  noDelay: true,
}

/** Listens on both. Errors: FESCUE_PORT_TAKEN. */
export async function startApi(options: ApiOptions): Promise<Api> {
  const api = new HttpApi(options)
  try {
    await api.listen()
  } catch (error) {
    await api[Symbol.asyncDispose]()
    throw error
  }
  return api
}

class HttpApi implements Api {
  readonly name = 'api'
  readonly #options: ApiOptions
  readonly #guard: Guard
  readonly #routes: RouteTable
  readonly #tcp: Server
  readonly #unix: Server
  readonly #streams = new Map<LiveStream, () => void>()
  readonly #ended = Promise.withResolvers<void>()
  #inFlight = 0
  #idle: (() => void) | undefined
  #stopping = false
  #socketPath: string | undefined

  constructor(options: ApiOptions) {
    this.#options = options
    this.#guard = new Guard({ ...options.http, token: options.token })
    this.#routes = new RouteTable([
      ...routesOf(options.backend, options.metrics),
      ...pageRoutes(options.pages),
    ])
    this.#tcp = this.#server(true)
    this.#unix = this.#server(false)
  }

  get port(): number {
    const address = this.#tcp.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  }

  get socketPath(): string | undefined {
    return this.#socketPath
  }

  async listen(): Promise<void> {
    const { http, dataFolder, logger } = this.#options
    await listening(this.#tcp, { host: http.host, port: http.port })
    const path = join(dataFolder, 'api.sock')
    if (Buffer.byteLength(path) > socketPathMaxBytes) {
      logger.warn({ path }, 'the path is too long for a socket: the API listens on its port only')
      return
    }
    await rm(path, { force: true })
    // The socket is made within listen(), so nobody sees it with a wider mode.
    const umask = process.umask(0o177)
    try {
      const opened = listening(this.#unix, { path })
      process.umask(umask)
      await opened
    } finally {
      process.umask(umask)
    }
    await chmod(path, 0o600)
    this.#socketPath = path
  }

  run(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => this.#ended.resolve(), { once: true })
    if (signal.aborted) this.#ended.resolve()
    return this.#ended.promise
  }

  /** Takes no new connection, ends the streams, waits for the requests in hand. */
  async drain(graceMs: number): Promise<void> {
    this.#stop()
    if (this.#inFlight === 0) return
    await new Promise<void>(resolve => {
      const cancel = this.#options.clock.after(graceMs, resolve)
      this.#idle = () => {
        cancel()
        resolve()
      }
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop()
    this.#tcp.closeAllConnections()
    this.#unix.closeAllConnections()
    this.#ended.resolve()
    if (this.#socketPath !== undefined) await rm(this.#socketPath, { force: true })
  }

  #stop(): void {
    if (this.#stopping) return
    this.#stopping = true
    for (const [stream, close] of this.#streams) {
      close()
      stream.end()
    }
    this.#streams.clear()
    for (const server of [this.#tcp, this.#unix]) {
      server.close()
      server.closeIdleConnections()
    }
  }

  #server(guarded: boolean): Server {
    const { createServer } = process.getBuiltinModule('node:http')
    const server = createServer(serverOptions, (request, response) => {
      void this.#serve(request, response, guarded)
    })
    server.maxConnections = connectionsMax
    server.maxHeadersCount = 64
    return server
  }

  /** Never rejects: whatever fails becomes an answer. */
  async #serve(request: IncomingMessage, response: ServerResponse, guarded: boolean): Promise<void> {
    this.#inFlight += 1
    response.on('close', () => this.#left())
    try {
      this.#write(request, response, await this.#reply(request, guarded))
    } catch (error) {
      if (!(error instanceof FescueError))
        this.#options.logger.error({ err: error, url: request.url }, 'request failed')
      if (response.headersSent) response.destroy()
      else this.#write(request, response, problem(error, {}, this.#headersOf(request, error)))
    }
  }

  #left(): void {
    this.#inFlight -= 1
    if (this.#inFlight === 0) this.#idle?.()
  }

  async #reply(request: IncomingMessage, guarded: boolean): Promise<Reply> {
    if (this.#stopping) throw new FescueError('FESCUE_STOPPING', 'the daemon is stopping')
    if (guarded) this.#guard.checkHost(request)
    const { path, query } = targetOf(request)
    const method = request.method ?? 'GET'
    const { route, names } = this.#routes.find(method, path)
    if (guarded) {
      this.#guard.checkToken(request, route.access)
      if (route.method !== 'GET') this.#guard.checkOrigin(request)
    }
    return route.handle(new ApiRequest(request, names, query))
  }

  #headersOf(request: IncomingMessage, error: unknown): Record<string, string> {
    const { code } = asFescueError(error)
    if (code === 'FESCUE_NOT_AUTHORIZED') return { 'www-authenticate': 'Bearer realm="fescue"' }
    if (code !== 'FESCUE_METHOD_NOT_ALLOWED') return {}
    return { allow: this.#routes.methodsOf(targetOf(request).path).join(', ') }
  }

  #write(request: IncomingMessage, response: ServerResponse, reply: Reply): void {
    response.setHeader('x-content-type-options', 'nosniff')
    response.setHeader('referrer-policy', 'no-referrer')
    response.setHeader('cache-control', 'no-store')
    response.setHeader('cross-origin-resource-policy', 'same-origin')
    if (reply.kind === 'stream') {
      this.#openStream(request, response, reply.open)
      return
    }
    for (const [name, value] of Object.entries(reply.headers)) response.setHeader(name, value)
    // A body that was not read to its end would be taken for the next request.
    if (!request.complete) response.setHeader('connection', 'close')
    if (reply.kind === 'empty') response.writeHead(204).end()
    else {
      response.setHeader('content-type', reply.type)
      response.setHeader('content-length', Buffer.byteLength(reply.body))
      response.writeHead(reply.status).end(reply.body)
    }
    request.resume()
  }

  #openStream(
    request: IncomingMessage,
    response: ServerResponse,
    open: (stream: LiveStream) => () => void,
  ): void {
    if (this.#streams.size >= streamsMax)
      throw new FescueError('FESCUE_BUSY', `${streamsMax} streams are open already: close one`)
    const sse = (request.headers.accept ?? '').includes('text/event-stream')
    response.setHeader('content-type', sse ? 'text/event-stream' : 'application/x-ndjson')
    response.writeHead(200)
    if (request.method === 'HEAD') {
      response.end()
      return
    }
    const stream = new LiveStream(response, sse ? 'sse' : 'ndjson', this.#options.clock)
    // Subscribed before the headers go out: whoever has them misses nothing from then on.
    const close = open(stream)
    this.#streams.set(stream, close)
    response.on('close', () => {
      if (this.#streams.delete(stream)) close()
    })
    response.flushHeaders()
  }
}

function targetOf(request: IncomingMessage): { path: string; query: URLSearchParams } {
  const [path = '/', query = ''] = (request.url ?? '/').split(/\?(.*)/s, 2)
  return { path, query: new URLSearchParams(query) }
}

async function listening(server: Server, where: ListenOptions): Promise<void> {
  try {
    const opened = once(server, 'listening')
    server.listen(where)
    await opened
  } catch (error) {
    throw listenError(error, where)
  }
}

function listenError(error: unknown, { host, port, path }: ListenOptions): FescueError {
  const where = path ?? `${host}:${port}`
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'EADDRINUSE')
    return new FescueError(
      'FESCUE_PORT_TAKEN',
      `another process listens on ${where}: stop it, or set http.port`,
      {
        cause: error,
      },
    )
  const reason = error instanceof Error ? error.message : String(error)
  return new FescueError('FESCUE_CONFIG_INVALID', `cannot listen on ${where}: ${reason}`, { cause: error })
}
