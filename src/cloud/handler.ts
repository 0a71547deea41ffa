/**
 * The endpoint's HTTP interface over the archive; `cloud.ts` owns the server.
 *
 *   POST /v1/events (or /)           CloudEvents; 200 once they are synced
 *   GET  /v1/devices                 counts, duplicates and gaps of each device and log
 *   GET  /v1/devices/DEVICE          one device; with `?log=L&epoch=E` (repeatable) only those numbers
 *   GET  /v1/devices/DEVICE/records?after=N&limit=M    events in order of arrival, each with its `index`
 *   GET  /healthz
 *
 * Errors are problem documents (RFC 9457). Bodies and the bytes under way at once are bounded (D6): above,
 * the answer is 503 with Retry-After.
 */
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { asFescueError, FescueError } from '#base/errors.ts'
import { Access, checkRead, checkWrite, mayRead } from './access.ts'
import type { Archive } from './archive.ts'
import { eventsOf, type IncomingEvent } from './event.ts'

export interface HandlerLimits {
  /** Bytes of one request's body. */
  readonly bodyMaxBytes: number
  /** Bytes of all bodies that are being read or written. */
  readonly underWayMaxBytes: number
}

/** Records in one answer. */
export const recordsLimitMax = 1_000_000
const recordsLimitDefault = 1_000
const busyRetryAfterS = 1

export class Handler {
  readonly #archive: Archive
  readonly #access: Access
  readonly #limits: HandlerLimits
  #underWayBytes = 0

  constructor(archive: Archive, tokens: Readonly<Record<string, string>>, limits: HandlerLimits) {
    this.#archive = archive
    this.#access = new Access(tokens)
    this.#limits = limits
  }

  /** Answers a request; never rejects. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      await this.#route(request, response)
    } catch (error) {
      if (response.headersSent || response.destroyed) response.destroy()
      else problem(request, response, asFescueError(error))
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = urlOf(request)
    const [, version, what, device, records] = url.pathname.split('/')
    if (url.pathname === '/healthz') return json(response, { status: 'ok' })
    const method = request.method ?? 'GET'
    const isEvents = url.pathname === '/v1/events' || url.pathname === '/'
    if (isEvents && method === 'POST') return this.#events(request, response)
    if (version === 'v1' && what === 'devices' && method === 'GET') {
      if (device === undefined) return this.#devices(request, response)
      if (records === undefined) return this.#device(request, response, decode(device), url)
      if (records === 'records') return this.#records(request, response, decode(device), url)
    }
    throw new FescueError('FESCUE_NOT_FOUND', `nothing at ${method} ${url.pathname}`)
  }

  async #events(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const caller = this.#access.callerOf(request.headers)
    // A body in chunks announces nothing: it counts as the largest.
    const announced = Number(request.headers['content-length'] ?? this.#limits.bodyMaxBytes)
    if (announced > this.#limits.bodyMaxBytes) throw tooLarge(this.#limits.bodyMaxBytes)
    if (this.#underWayBytes > 0 && this.#underWayBytes + announced > this.#limits.underWayMaxBytes) {
      response.setHeader('retry-after', busyRetryAfterS)
      throw new FescueError('FESCUE_STORE_FULL', 'too many requests are under way')
    }
    this.#underWayBytes += announced
    try {
      const body = await read(request, this.#limits.bodyMaxBytes)
      const events = eventsOf(request.headers, body)
      for (const device of new Set(events.map(event => event.device))) checkWrite(caller, device)
      json(response, await this.#keep(events, body.length))
    } finally {
      this.#underWayBytes -= announced
    }
  }

  async #keep(
    events: readonly IncomingEvent[],
    bytes: number,
  ): Promise<{ stored: number; duplicates: number }> {
    const total = { stored: 0, duplicates: 0 }
    const results = Map.groupBy(events, event => event.device)
      .entries()
      .map(([device, own]) => this.#archive.ingest(device, own, bytes))
    for (const result of await Promise.all(results)) {
      total.stored += result.stored
      total.duplicates += result.duplicates
    }
    return total
  }

  async #devices(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const caller = this.#access.callerOf(request.headers)
    const views = await this.#archive.read(devices =>
      [...devices.values()].filter(device => mayRead(caller, device.name)).map(device => device.view()),
    )
    json(response, views)
  }

  async #device(request: IncomingMessage, response: ServerResponse, name: string, url: URL): Promise<void> {
    checkRead(this.#access.callerOf(request.headers), name)
    const logs = url.searchParams.getAll('log')
    const epochs = url.searchParams.getAll('epoch')
    const view = await this.#archive.read(devices => devices.get(name)?.view(logs, epochs))
    if (view === undefined) throw new FescueError('FESCUE_NOT_FOUND', `device ${name} has sent nothing yet`)
    json(response, view)
  }

  async #records(request: IncomingMessage, response: ServerResponse, name: string, url: URL): Promise<void> {
    checkRead(this.#access.callerOf(request.headers), name)
    const after = integer(url, 'after', -1)
    const limit = Math.min(integer(url, 'limit', recordsLimitDefault), recordsLimitMax)
    const known = await this.#archive.read(devices => devices.has(name))
    if (!known) throw new FescueError('FESCUE_NOT_FOUND', `device ${name} has sent nothing yet`)
    response.setHeader('content-type', 'application/json')
    let separator = '['
    for await (const lines of limit > 0 ? this.#archive.records(name, after, limit) : []) {
      const room = response.write(separator + lines.join(',\n'))
      separator = ',\n'
      if (!room && !response.destroyed) await Promise.race([once(response, 'drain'), once(response, 'close')])
      if (response.destroyed) return
    }
    response.end(separator === '[' ? '[]\n' : ']\n')
  }
}

function urlOf(request: IncomingMessage): URL {
  const url = URL.parse(request.url ?? '/', 'http://endpoint')
  if (url === null) throw new FescueError('FESCUE_REQUEST_INVALID', 'the target of the request is no path')
  return url
}

function decode(level: string): string {
  try {
    return decodeURIComponent(level)
  } catch {
    throw new FescueError('FESCUE_REQUEST_INVALID', `the path has a broken escape: ${level}`)
  }
}

function integer(url: URL, name: string, fallback: number): number {
  const text = url.searchParams.get(name)
  if (text === null) return fallback
  if (!/^-?\d{1,15}$/.test(text)) throw new FescueError('FESCUE_REQUEST_INVALID', `${name} is not a number`)
  return Math.max(Number(text), name === 'after' ? -1 : 0)
}

function tooLarge(maxBytes: number): FescueError {
  return new FescueError(
    'FESCUE_REQUEST_TOO_LARGE',
    `the body exceeds ${maxBytes} bytes: send smaller batches`,
  )
}

/** Not with `for await`: leaving it early would destroy the socket before the answer is out. */
function read(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let bytes = 0
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > maxBytes) reject(tooLarge(maxBytes))
      else chunks.push(chunk)
    })
    request.once('end', () =>
      resolve(chunks.length === 1 ? (chunks[0] ?? Buffer.alloc(0)) : Buffer.concat(chunks)),
    )
    request.once('close', () => reject(new FescueError('FESCUE_REQUEST_INVALID', 'the request broke off')))
  })
}

function json(response: ServerResponse, value: unknown): void {
  const text = JSON.stringify(value)
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
  response.end(text)
}

/** Answers with a problem document. What is still coming of the body is read and dropped, so that it arrives. */
function problem(request: IncomingMessage, response: ServerResponse, error: FescueError): void {
  const { status, code, message } = error
  const text = JSON.stringify({ status, title: code, detail: message, code })
  request.resume()
  if (status === 401) response.setHeader('www-authenticate', 'Bearer')
  if (status === 503 && !response.hasHeader('retry-after')) response.setHeader('retry-after', busyRetryAfterS)
  response.writeHead(status, {
    'content-type': 'application/problem+json',
    'content-length': Buffer.byteLength(text),
  })
  response.end(text)
}
