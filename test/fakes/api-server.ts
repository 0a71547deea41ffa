/** A daemon's API as far as commands see it: a table of answers on a Unix socket in a folder, or on a port. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'

export interface SeenRequest {
  readonly method: string
  readonly path: string
  readonly body: unknown
  readonly authorization: string | undefined
}

export type Answer = (request: SeenRequest, response: ServerResponse) => void

export class FakeApi implements AsyncDisposable {
  readonly requests: SeenRequest[] = []
  readonly #server: Server
  readonly #answers: Readonly<Record<string, Answer>>

  private constructor(answers: Readonly<Record<string, Answer>>) {
    this.#answers = answers
    this.#server = createServer((request, response) => void this.#answer(request, response))
  }

  /** Listens on FOLDER/api.sock, or on a free port without a folder. Answers by "METHOD /path". */
  static async start(answers: Readonly<Record<string, Answer>>, folder?: string): Promise<FakeApi> {
    const api = new FakeApi(answers)
    if (folder === undefined) api.#server.listen(0, '127.0.0.1')
    else api.#server.listen(join(folder, 'api.sock'))
    await once(api.#server, 'listening')
    return api
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks = await Array.fromAsync(request)
    const text = Buffer.concat(chunks).toString()
    const [path = ''] = (request.url ?? '').split('?')
    const seen = {
      method: request.method ?? '',
      path: request.url ?? '',
      body: text === '' ? undefined : JSON.parse(text),
      authorization: request.headers.authorization,
    }
    this.requests.push(seen)
    const answer = this.#answers[`${request.method} ${path}`]
    if (answer === undefined) problem(response, 404, 'FESCUE_NOT_FOUND', `nothing at ${path}`)
    else answer(seen, response)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close()
    this.#server.closeAllConnections()
    if (this.#server.listening) await once(this.#server, 'close')
  }
}

export function json(value: unknown, status = 200): Answer {
  return (_request, response) => {
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(JSON.stringify(value))
  }
}

export function lines(...values: readonly unknown[]): Answer {
  return (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    response.end(values.map(value => `${JSON.stringify(value)}\n`).join(''))
  }
}

export function problem(response: ServerResponse, status: number, code: string, detail: string): void {
  response.writeHead(status, { 'content-type': 'application/problem+json' })
  response.end(JSON.stringify({ type: 'about:blank', title: code, status, code, detail }))
}
