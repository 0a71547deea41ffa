/**
 * Connector `http`: CloudEvents batches by POST, each answered before the next leaves.
 *
 * A URL that ends in `/v1/events`, or has no path, may be a Fescue endpoint: it is asked for its numbers at `/v1/devices/DEVICE`
 * beside it, and then a 2xx counts only with the counts that such an endpoint answers with. From any other
 * receiver a 2xx is an acknowledgement unless it is a web page: a captive portal answers 200 as well.
 */
import type { Clock } from '#base/clock.ts'
import { FescueError } from '#base/errors.ts'
import type { Epoch } from '#base/ids.ts'
import { CloudEventsEncoder } from './cloud-events.ts'
import type {
  Connector,
  EncodedBatch,
  NumbersOutcome,
  OutgoingBatch,
  ReceiverNumber,
  SendOptions,
  SendOutcome,
} from './connector.ts'
import { type Answer, HttpClient, type TlsOptions } from './http-client.ts'

export interface HttpConnectorOptions {
  readonly device: string
  readonly url: string
  readonly token?: string | undefined
  readonly tls?: TlsOptions | undefined
  readonly clock: Clock
  /** Where HTTP_PROXY, HTTPS_PROXY and NO_PROXY are looked up. */
  readonly environment: Readonly<Record<string, string | undefined>>
}

type Failure = Exclude<SendOutcome, { readonly type: 'acknowledged' }>

const batchType = 'application/cloudevents-batch+json'
const eventsPath = '/v1/events'
/** Longest wait that a Retry-After can ask for. */
export const retryAfterMaxMs = 600_000

export class HttpConnector implements Connector {
  readonly #options: HttpConnectorOptions
  readonly #url: URL
  readonly #encoder: CloudEventsEncoder
  readonly #client: HttpClient
  /** What the receiver is, once it was asked. */
  #receiver: 'unknown' | 'endpoint' | 'plain' = 'unknown'

  /** Errors: FESCUE_CONFIG_INVALID. */
  constructor(options: HttpConnectorOptions) {
    this.#options = options
    this.#url = urlOf(options.url)
    this.#encoder = new CloudEventsEncoder(options.device)
    this.#client = new HttpClient(options)
  }

  encode(batch: OutgoingBatch): EncodedBatch {
    const body = this.#encoder.encode(batch)
    return { batch, bytes: body.length, body }
  }

  async send({ batch, body }: EncodedBatch, options: SendOptions): Promise<SendOutcome> {
    const headers = { ...this.#headers(), 'content-type': batchType, 'content-length': body.length }
    const answer = await this.#client.exchange({ method: 'POST', url: this.#url, headers, body, ...options })
    const failure = failureOf(answer, this.#options.clock)
    if (failure !== undefined) return failure
    const problem = this.#receiver === 'endpoint' ? notCounted(answer, batch.records.length) : webPage(answer)
    return problem === undefined ? { type: 'acknowledged' } : { type: 'retryable', reason: problem }
  }

  async numbers(
    logs: readonly string[],
    epochs: readonly Epoch[],
    options: SendOptions,
  ): Promise<NumbersOutcome> {
    const prefix = prefixOf(this.#url.pathname)
    if (prefix === undefined) return this.#plain()
    const url = new URL(this.#url)
    url.pathname = `${prefix}/v1/devices/${this.#options.device}`
    for (const log of logs) url.searchParams.append('log', log)
    for (const epoch of epochs) url.searchParams.append('epoch', epoch)
    const answer = await this.#client.exchange({ method: 'GET', url, headers: this.#headers(), ...options })
    if (answer.type === 'answer' && answer.status === 404) return this.#unknownDevice(answer)
    const failure = failureOf(answer, this.#options.clock)
    if (failure?.type === 'rejected') return { type: 'unsupported' }
    if (failure !== undefined) return failure
    const numbers = numbersOf(answer)
    if (numbers === undefined) {
      const page = webPage(answer)
      return page === undefined ? this.#plain() : { type: 'retryable', reason: page }
    }
    this.#receiver = 'endpoint'
    return { type: 'numbers', numbers }
  }

  reset(): void {
    this.#client.close()
  }

  close(): void {
    this.#client.close()
  }

  /** An endpoint that has not heard of us says so in a problem document; any other 404 is another receiver. */
  #unknownDevice(answer: Answer): NumbersOutcome {
    const ours = jsonOf(answer)?.code === 'FESCUE_NOT_FOUND'
    if (!ours) return this.#plain()
    this.#receiver = 'endpoint'
    return { type: 'numbers', numbers: [] }
  }

  /** A receiver that keeps no numbers: at least once. */
  #plain(): NumbersOutcome {
    this.#receiver = 'plain'
    return { type: 'unsupported' }
  }

  #headers(): Record<string, string> {
    const { token } = this.#options
    return token === undefined ? {} : { authorization: `Bearer ${token}` }
  }
}

/** What stands before the endpoint's paths, or undefined when the URL cannot be an endpoint's. */
function prefixOf(pathname: string): string | undefined {
  if (pathname === '/') return ''
  return pathname.endsWith(eventsPath) ? pathname.slice(0, -eventsPath.length) : undefined
}

function urlOf(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url !== undefined && (url.protocol === 'http:' || url.protocol === 'https:')) return url
  throw new FescueError('FESCUE_CONFIG_INVALID', `uplink url "${text}": use http:// or https://`)
}

/** What went wrong, by RFC 9110; undefined for 2xx. */
function failureOf(answer: Answer, clock: Clock): Failure | undefined {
  if (answer.type === 'failed')
    return { type: answer.timeout ? 'timeout' : 'retryable', reason: answer.reason }
  const { status } = answer
  if (status >= 200 && status < 300) return undefined
  const reason = reasonOf(answer)
  if (status === 413) return { type: 'rejected', why: 'too-large', reason }
  if (status === 408 || status === 425 || status === 429 || status >= 500) {
    const retryAfterMs = retryAfterOf(answer, clock)
    return retryAfterMs === undefined
      ? { type: 'retryable', reason }
      : { type: 'retryable', reason, retryAfterMs }
  }
  // Wrong address or method, a redirect, another media type: true of every record, not of one.
  const refused = status < 400 || [401, 402, 403, 404, 405, 406, 407, 410, 415, 421, 426].includes(status)
  return refused ? { type: 'refused', reason } : { type: 'rejected', why: 'invalid', reason }
}

function reasonOf(answer: Extract<Answer, { type: 'answer' }>): string {
  const detail = jsonOf(answer)?.detail
  return typeof detail === 'string'
    ? `HTTP ${answer.status}: ${detail.slice(0, 200)}`
    : `HTTP ${answer.status}`
}

function retryAfterOf(answer: Extract<Answer, { type: 'answer' }>, clock: Clock): number | undefined {
  const text = answer.headers['retry-after']
  if (text === undefined) return undefined
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - clock.now()
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), retryAfterMaxMs) : undefined
}

function jsonOf(answer: Answer): Record<string, unknown> | undefined {
  if (answer.type !== 'answer') return undefined
  try {
    const value: unknown = JSON.parse(answer.body.toString('utf8'))
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

function notCounted(answer: Answer, records: number): string | undefined {
  const counts = jsonOf(answer)
  return Number(counts?.stored) + Number(counts?.duplicates) === records
    ? undefined
    : 'the answer is not that of the endpoint'
}

function webPage(answer: Answer): string | undefined {
  const type = answer.type === 'answer' ? (answer.headers['content-type'] ?? '') : ''
  return type.startsWith('text/html') ? 'a web page answered: is this network behind a log-in?' : undefined
}

function numbersOf(answer: Answer): ReceiverNumber[] | undefined {
  const logs = jsonOf(answer)?.logs
  if (!Array.isArray(logs)) return undefined
  return logs.flatMap((row: Record<string, unknown>) => {
    const { log, epoch, next, lastMessageId, followers } = row
    if (typeof log !== 'string' || typeof epoch !== 'string' || !isOffset(next)) return []
    const id = typeof lastMessageId === 'string' ? lastMessageId : undefined
    return [{ log, epoch, next, lastMessageId: id, followers: followersOf(followers) }]
  })
}

function followersOf(value: unknown): ReceiverNumber['followers'] {
  if (!Array.isArray(value)) return []
  return value.flatMap((follower: Record<string, unknown>) => {
    const { epoch, at } = follower
    return typeof epoch === 'string' && isOffset(at) ? [{ epoch, at }] : []
  })
}

function isOffset(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0
}
