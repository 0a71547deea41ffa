/**
 * The API of a daemon as commands call it: over the Unix socket in its data folder, or over HTTP with a token.
 *
 *   command ─► ApiClient ─► DIR/api.sock  (the folder's mode is the permission)
 *                        └► URL + token
 *
 * Every failure is a FescueError: the problem document (RFC 9457) that the daemon answered, or
 * FESCUE_DAEMON_UNREACHABLE when nobody answers. node:http comes through `getBuiltinModule`, because importing
 * it as an ES module loads undici with 13 MB.
 */
import type { IncomingMessage, RequestOptions } from 'node:http'
import { type ErrorCode, errorTable, FescueError } from '#base/errors.ts'

/** Where a daemon answers, and what to call the place in a message. */
export interface DaemonAddress {
  readonly socketPath?: string
  readonly url?: URL
  readonly token?: string
  readonly name: string
}

export interface RequestInput {
  readonly method?: 'GET' | 'POST' | 'DELETE'
  /** Sent as JSON. */
  readonly body?: unknown
  /** Sent as it is, and said to be JSON. */
  readonly bytes?: Buffer
  readonly signal?: AbortSignal
  /** Silence after which the request fails; 0 waits for ever (30 s). */
  readonly timeoutMs?: number
}

/** Bytes of an answer that is read as a whole. */
const answerMaxBytes = 64 * 1024 * 1024
/** Bytes of one line of a stream. */
const lineMaxBytes = 16 * 1024 * 1024
const timeoutDefaultMs = 30_000

export class ApiClient {
  readonly #address: DaemonAddress

  constructor(address: DaemonAddress) {
    this.#address = address
  }

  get address(): DaemonAddress {
    return this.#address
  }

  /** Calls and returns the JSON answer; `undefined` when there is none. The caller names its type. */
  async call<Answer>(path: string, input: RequestInput = {}): Promise<Answer> {
    const response = await this.#open(path, input)
    const text = await readText(response)
    if (!isOk(response)) throw problemOf(response, text)
    return parseJson(text === '' ? 'null' : text)
  }

  /** Lines of an NDJSON stream until the daemon or `signal` ends it. */
  async *stream<Item>(path: string, signal: AbortSignal): AsyncGenerator<Item> {
    const response = await this.#open(path, { signal, timeoutMs: 0 })
    if (!isOk(response)) throw problemOf(response, await readText(response))
    try {
      for await (const line of readLines(response)) if (line !== '') yield parseJson<Item>(line)
    } catch (error) {
      if (!signal.aborted) throw this.#unreachable(error)
    }
  }

  async #open(path: string, input: RequestInput): Promise<IncomingMessage> {
    const body = input.body === undefined ? input.bytes : Buffer.from(JSON.stringify(input.body))
    const options = this.#requestOptions(path, input, body)
    const secure = this.#address.url?.protocol === 'https:'
    const { request } = process.getBuiltinModule(secure ? 'node:https' : 'node:http')
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
    const outgoing = request(options, resolve)
    outgoing.on('error', error => reject(this.#unreachable(error)))
    outgoing.on('timeout', () => outgoing.destroy(new Error('no answer in time')))
    outgoing.end(body)
    return promise
  }

  #requestOptions(path: string, input: RequestInput, body: Buffer | undefined): RequestOptions {
    const { socketPath, url, token } = this.#address
    const headers: Record<string, string | number> = { accept: 'application/json' }
    if (token !== undefined) headers.authorization = `Bearer ${token}`
    if (body !== undefined) {
      headers['content-type'] = 'application/json'
      headers['content-length'] = body.length
    }
    const options: RequestOptions = {
      method: input.method ?? 'GET',
      path: (url?.pathname ?? '').replace(/\/$/, '') + path,
      headers,
      agent: false,
      timeout: input.timeoutMs ?? timeoutDefaultMs,
    }
    if (input.signal !== undefined) options.signal = input.signal
    if (socketPath !== undefined) return { ...options, socketPath }
    return { ...options, host: url?.hostname.replace(/^\[|\]$/g, ''), port: url?.port || undefined }
  }

  #unreachable(cause: unknown): FescueError {
    const why = cause instanceof Error ? cause.message : String(cause)
    return new FescueError(
      'FESCUE_DAEMON_UNREACHABLE',
      `no daemon answers at ${this.#address.name} (${why}): start one with "fescue start", or name its data folder with --data DIR`,
      { cause },
    )
  }
}

function isOk(response: IncomingMessage): boolean {
  const status = response.statusCode ?? 500
  return status >= 200 && status < 300
}

async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of response) {
    bytes += chunk.length
    if (bytes > answerMaxBytes) throw new FescueError('FESCUE_REQUEST_TOO_LARGE', 'the answer is too large')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

async function* readLines(response: IncomingMessage): AsyncGenerator<string> {
  let rest = ''
  response.setEncoding('utf8')
  for await (const chunk of response) {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > lineMaxBytes) throw new FescueError('FESCUE_REQUEST_TOO_LARGE', 'a line is too long')
    yield* lines
  }
  yield rest
}

function parseJson<Value>(text: string): Value {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new FescueError('FESCUE_INTERNAL', `the daemon answered what is no JSON: ${text.slice(0, 80)}`, {
      cause,
    })
  }
}

/** The error of a problem document, which is its cause; an answer that is none keeps its status in the text. */
function problemOf(response: IncomingMessage, text: string): FescueError {
  const status = response.statusCode ?? 500
  const problem = asProblem(text)
  const code = isErrorCode(problem.code) ? problem.code : codeOfStatus(status)
  return new FescueError(code, problem.detail ?? problem.title ?? `the daemon answered ${status}`, {
    cause: problem,
  })
}

function asProblem(text: string): { code?: string; detail?: string; title?: string } {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : {}
  } catch {
    return {}
  }
}

function isErrorCode(code: string | undefined): code is ErrorCode {
  return code !== undefined && Object.hasOwn(errorTable, code)
}

function codeOfStatus(status: number): ErrorCode {
  if (status === 401) return 'FESCUE_NOT_AUTHORIZED'
  if (status === 403) return 'FESCUE_FORBIDDEN'
  if (status === 404) return 'FESCUE_NOT_FOUND'
  return status < 500 ? 'FESCUE_REQUEST_INVALID' : 'FESCUE_INTERNAL'
}
