/** What a route answers, as data; `server.ts` writes it. */
import { asFescueError, errorTable, type FescueError } from '#base/errors.ts'
import type { LiveStream } from './live-stream.ts'

export type Headers = Readonly<Record<string, string>>

export type Reply =
  | {
      readonly kind: 'body'
      readonly status: number
      readonly type: string
      readonly body: string | Buffer
      readonly headers: Headers
    }
  | { readonly kind: 'empty'; readonly headers: Headers }
  /** `open` subscribes and returns how to end it. */
  | { readonly kind: 'stream'; readonly open: (stream: LiveStream) => () => void }

export function json(value: unknown, headers: Headers = {}): Reply {
  return jsonText(JSON.stringify(value), headers)
}

/** `text` is JSON already. */
export function jsonText(text: string, headers: Headers = {}): Reply {
  return { kind: 'body', status: 200, type: 'application/json', body: `${text}\n`, headers }
}

export function empty(): Reply {
  return { kind: 'empty', headers: {} }
}

/** Seconds after which a retryable error may be tried again. */
const retryAfterSeconds = { FESCUE_STORE_FULL: 5, default: 1 } as const

/**
 * A problem document (RFC 9457). `type` is a path of this API that explains the code; `code` and `retryable`
 * are for programs; `members` are added as they are.
 */
export function problem(error: unknown, members: object = {}, headers: Headers = {}): Reply {
  const known = asFescueError(error)
  const { status, code, retryable } = known
  const body = {
    type: `/errors/${code}`,
    title: errorTable[code].doc,
    status,
    code,
    detail: detailOf(error, known),
    retryable,
    ...members,
  }
  const retry: Headers =
    status === 503 || status === 429
      ? {
          'retry-after': String(
            code === 'FESCUE_STORE_FULL' ? retryAfterSeconds[code] : retryAfterSeconds.default,
          ),
        }
      : {}
  return {
    kind: 'body',
    status,
    type: 'application/problem+json',
    body: `${JSON.stringify(body)}\n`,
    headers: { ...retry, ...headers },
  }
}

/** The words of an unforeseen error may hold anything: they go to the log alone. */
function detailOf(error: unknown, known: FescueError): string {
  return error === known ? known.message : 'an unforeseen error; the log of the daemon has the details'
}
