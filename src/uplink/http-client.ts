/**
 * One HTTP exchange at a time with one host over kept-alive connections: deadline, cap on the answer, TLS,
 * proxies from HTTP_PROXY, HTTPS_PROXY and NO_PROXY (Node's `proxyEnv`).
 *
 * node:http is taken with getBuiltinModule and there is no fetch: both an ES module import of it and fetch
 * load undici, 13 to 18 MB that the daemon does not need.
 */
import { readFileSync } from 'node:fs'
import type { Agent, ClientRequest, IncomingHttpHeaders, IncomingMessage, RequestOptions } from 'node:http'
import type { Clock } from '#base/clock.ts'

/** Each is a path, or PEM text. */
export interface TlsOptions {
  /** Certificates to trust instead of the system's. */
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
}

export interface HttpClientOptions {
  readonly clock: Clock
  readonly tls?: TlsOptions | undefined
  readonly environment: Readonly<Record<string, string | undefined>>
}

export interface Exchange {
  readonly method: 'GET' | 'POST'
  readonly url: URL
  readonly headers: Readonly<Record<string, string | number>>
  readonly body?: Buffer
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

export type Answer =
  | {
      readonly type: 'answer'
      readonly status: number
      readonly headers: IncomingHttpHeaders
      readonly body: Buffer
    }
  | { readonly type: 'failed'; readonly reason: string; readonly timeout: boolean }

/** Bytes of an answer; a longer one is a failure. */
export const answerMaxBytes = 4 * 1024 * 1024

export class HttpClient {
  readonly #options: HttpClientOptions
  #agents = new Map<string, Agent>()

  constructor(options: HttpClientOptions) {
    this.#options = options
  }

  /** Never rejects. A kept-alive connection that turns out to be closed is replaced once. */
  async exchange(exchange: Exchange): Promise<Answer> {
    const first = await this.#attempt(exchange)
    return first.stale ? (await this.#attempt(exchange)).answer : first.answer
  }

  /** Closes all connections; certificates are read anew for the next. */
  close(): void {
    for (const agent of this.#agents.values()) agent.destroy()
    this.#agents = new Map()
  }

  #attempt(exchange: Exchange): Promise<{ answer: Answer; stale: boolean }> {
    return new Promise(resolve => {
      let request: ClientRequest
      const settle = (answer: Answer, stale = false) => {
        cancel()
        exchange.signal.removeEventListener('abort', abort)
        resolve({ answer, stale })
      }
      const fail = (reason: string, timeout = false, stale = false) => {
        request?.destroy()
        settle({ type: 'failed', reason, timeout }, stale)
      }
      const abort = () => fail('the link was cut')
      const cancel = this.#options.clock.after(exchange.timeoutMs, () =>
        fail(`no answer within ${Math.round(exchange.timeoutMs)} ms`, true),
      )
      if (exchange.signal.aborted) return abort()
      exchange.signal.addEventListener('abort', abort, { once: true })
      try {
        request = this.#open(exchange)
      } catch (error) {
        return fail(textOf(error))
      }
      request.on('error', error => fail(textOf(error), false, isStale(request, error)))
      request.once('response', response => collect(response, settle, fail))
      request.end(exchange.body)
    })
  }

  #open({ method, url, headers }: Exchange): ClientRequest {
    const secure = url.protocol === 'https:'
    const options: RequestOptions = { method, headers, agent: this.#agent(secure) }
    if (secure) return process.getBuiltinModule('node:https').request(url, options)
    return process.getBuiltinModule('node:http').request(url, options)
  }

  #agent(secure: boolean): Agent {
    const key = secure ? 'https' : 'http'
    let agent = this.#agents.get(key)
    if (agent === undefined) {
      const common = { keepAlive: true, maxSockets: 2, noDelay: true, proxyEnv: this.#options.environment }
      agent = secure
        ? new (process.getBuiltinModule('node:https').Agent)({ ...common, ...pems(this.#options.tls) })
        : new (process.getBuiltinModule('node:http').Agent)(common)
      this.#agents.set(key, agent)
    }
    return agent
  }
}

function collect(
  response: IncomingMessage,
  settle: (answer: Answer) => void,
  fail: (reason: string) => void,
): void {
  const chunks: Buffer[] = []
  let bytes = 0
  response.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes > answerMaxBytes) fail(`the answer exceeds ${answerMaxBytes} bytes`)
    else chunks.push(chunk)
  })
  response.once('end', () => {
    const { statusCode: status = 0, headers } = response
    settle({ type: 'answer', status, headers, body: Buffer.concat(chunks) })
  })
  response.once('close', () => {
    if (!response.complete) fail('the answer broke off')
  })
}

/** Closed by the receiver while it lay idle; nothing of the request was looked at, or it is a duplicate. */
function isStale(request: ClientRequest, error: NodeJS.ErrnoException): boolean {
  return request.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE')
}

/** PEM texts, read where a path is given. */
export function pems(tls: TlsOptions = {}): TlsOptions {
  return Object.fromEntries(
    Object.entries(tls).map(([name, value]: [string, string]) => [
      name,
      value.includes('-----BEGIN') ? value : readFileSync(value, 'utf8'),
    ]),
  )
}

function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { code } = error as NodeJS.ErrnoException
  if (error instanceof AggregateError && error.errors.length > 0) return textOf(error.errors[0])
  return code === undefined || error.message.includes(code) ? error.message : `${code}: ${error.message}`
}
