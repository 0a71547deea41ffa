/** The real API over real sockets, with a backend that a test controls. */

import { mkdtempDisposable } from 'node:fs/promises'
import { type ClientRequest, type IncomingMessage, type RequestOptions, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type Api, type ApiOptions, startApi } from '#api/api.ts'
import { PromMetrics } from '#api/metrics.ts'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import { RecordingBackend } from '../fakes/recording-backend.ts'

export const token = 'a-token-of-many-characters'

export interface Answer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly text: string
  /** The body as JSON. */
  readonly body: unknown
}

export interface Ask {
  readonly method?: string
  /** A text is sent as it is, anything else as JSON. */
  readonly body?: unknown
  readonly headers?: Record<string, string>
}

export interface ApiRig extends AsyncDisposable {
  readonly api: Api
  readonly backend: RecordingBackend
  readonly metrics: PromMetrics
  readonly folder: string
  /** Over TCP with the token. */
  ask(path: string, ask?: Ask): Promise<Answer>
  /** Over TCP without the token. */
  askBare(path: string, ask?: Ask): Promise<Answer>
  /** Over the socket in the data folder. */
  askSocket(path: string, ask?: Ask): Promise<Answer>
  /** An open stream whose lines are read one by one. */
  stream(path: string, headers?: Record<string, string>): Promise<Stream>
}

export interface Stream extends Disposable {
  readonly response: IncomingMessage
  readonly request: ClientRequest
  line(): Promise<string>
}

export async function startRig(options: Partial<ApiOptions> = {}): Promise<ApiRig> {
  const folder = await mkdtempDisposable(join(tmpdir(), 'fescue-api-'))
  const backend = new RecordingBackend()
  const metrics = new PromMetrics()
  const api = await startApi({
    backend,
    dataFolder: folder.path,
    http: { host: '127.0.0.1', port: 0, hosts: [] },
    token,
    metrics,
    pages: undefined,
    clock: systemClock,
    logger: silentLogger,
    ...options,
  })
  const tcp = { host: '127.0.0.1', port: api.port }
  const authorization = { authorization: `Bearer ${token}` }
  return {
    api,
    backend,
    metrics,
    folder: folder.path,
    ask: (path, ask = {}) => send(tcp, path, { ...ask, headers: { ...authorization, ...ask.headers } }),
    askBare: (path, ask = {}) => send(tcp, path, ask),
    askSocket: (path, ask = {}) => send({ socketPath: api.socketPath }, path, ask),
    stream: (path, headers = {}) => openStream(tcp, path, { ...authorization, ...headers }),
    async [Symbol.asyncDispose]() {
      await api[Symbol.asyncDispose]()
      await folder.remove()
    },
  }
}

async function send(where: RequestOptions, path: string, { method, body, headers }: Ask): Promise<Answer> {
  const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body)
  const type: Record<string, string> = text === undefined ? {} : { 'content-type': 'application/json' }
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const outgoing = request({
    ...where,
    path,
    method: method ?? 'GET',
    headers: { ...type, ...headers },
    agent: false,
  })
  outgoing.on('response', resolve)
  outgoing.on('error', reject)
  outgoing.end(text)
  const response = await promise
  const answer = Buffer.concat(await Array.fromAsync(response)).toString('utf8')
  return { status: response.statusCode ?? 0, headers: response.headers, text: answer, body: parse(answer) }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

async function openStream(
  where: RequestOptions,
  path: string,
  headers: Record<string, string>,
): Promise<Stream> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const outgoing = request({ ...where, path, headers, agent: false })
  outgoing.on('response', resolve)
  outgoing.on('error', reject)
  outgoing.end()
  const response = await promise
  let lines: AsyncIterator<string> | undefined
  return {
    response,
    request: outgoing,
    async line() {
      lines ??= createInterface({ input: response })[Symbol.asyncIterator]()
      const next = await lines.next()
      return next.done === true ? '(end)' : next.value
    },
    [Symbol.dispose]: () => outgoing.destroy(),
  }
}
