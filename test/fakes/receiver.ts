/** A receiver of CloudEvents whose answers a test decides: for everything that the real endpoint never says. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Loose } from './uplink-rig.ts'

export interface Request {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
  /** Events of the batch; empty when the body is none. */
  readonly events: readonly Loose[]
}

export interface Receiver extends AsyncDisposable {
  readonly port: number
  readonly requests: readonly Request[]
  /** Events of the batches that were answered 2xx, in order. */
  readonly taken: readonly Loose[]
}

/** Answers by status, by status and headers, or by hand (`undefined`: `response` is the test's). */
export type Reply = number | { status: number; headers?: Record<string, string>; body?: string } | undefined

export async function startReceiver(
  reply: (request: Request, response: ServerResponse) => Reply,
): Promise<Receiver> {
  const requests: Request[] = []
  const taken: Loose[] = []
  const server = createServer(async (incoming, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of incoming) chunks.push(chunk)
    const body = Buffer.concat(chunks).toString()
    const { method = '', url = '', headers } = incoming
    const request = { method, url, headers, body, events: body.startsWith('[') ? JSON.parse(body) : [] }
    requests.push(request)
    const answer = reply(request, response)
    if (answer === undefined) return
    const {
      status,
      headers: own = {},
      body: text = '',
    } = typeof answer === 'number' ? { status: answer } : answer
    if (status >= 200 && status < 300) taken.push(...request.events)
    response.writeHead(status, own).end(text)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    requests,
    taken,
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}
