/**
 * Who may call what, before any route runs.
 *
 *   socket in the data folder   its mode (0600) is the permission, no token
 *   TCP    Host known? ─► Origin ours? ─► open route, or bearer token
 *
 * The Host check stops DNS rebinding: a page of a foreign name that was pointed at 127.0.0.1 carries that name.
 * There are no cookies and no CORS headers, so a foreign page cannot send the token either; the Origin and
 * Sec-Fetch-Site checks are a second fence for what changes state.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import { FescueError } from '#base/errors.ts'
import { isLoopback } from '#base/loopback.ts'

/**
 * `open`: no token. `loopback`: no token for callers on this machine. `token`: everybody else needs it.
 */
export type Access = 'open' | 'loopback' | 'token'

export interface GuardOptions {
  readonly token: string
  /** Address that the TCP listener is bound to. */
  readonly host: string
  /** Further host names by which it may be called. */
  readonly hosts: readonly string[]
}

export class Guard {
  readonly #tokenHash: Buffer
  readonly #hosts: ReadonlySet<string>
  readonly #onNetwork: boolean

  constructor(options: GuardOptions) {
    this.#tokenHash = hashOf(options.token)
    this.#hosts = new Set(['localhost', options.host, ...options.hosts].map(host => host.toLowerCase()))
    this.#onNetwork = !isLoopback(options.host)
  }

  /** Before the route is known. Errors: FESCUE_FORBIDDEN, FESCUE_REQUEST_INVALID. */
  checkHost(request: IncomingMessage): void {
    // RFC 9112 section 3.2; Node takes the first.
    if ((request.headersDistinct.host?.length ?? 0) > 1)
      throw new FescueError('FESCUE_REQUEST_INVALID', 'the request has two Host headers')
    const host = request.headers.host
    const name = host === undefined ? undefined : hostName(host)
    if (name !== undefined && this.#isOurs(name)) return
    throw new FescueError(
      'FESCUE_FORBIDDEN',
      `this API is not called "${host ?? ''}": use 127.0.0.1 or localhost, or add the name to http.hosts`,
    )
  }

  /** For requests that change state. Errors: FESCUE_FORBIDDEN. */
  checkOrigin(request: IncomingMessage): void {
    const { origin, host } = request.headers
    const site = request.headers['sec-fetch-site']
    const foreign =
      (origin !== undefined && URL.parse(origin)?.host !== host) ||
      (site !== undefined && site !== 'same-origin' && site !== 'none')
    if (foreign) throw new FescueError('FESCUE_FORBIDDEN', 'another site may not change anything here')
  }

  /** Errors: FESCUE_NOT_AUTHORIZED. */
  checkToken(request: IncomingMessage, access: Access): void {
    if (access === 'open') return
    if (access === 'loopback' && isLoopback(request.socket.remoteAddress ?? '')) return
    const given = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1]
    // Hashes have one length, so the comparison tells nothing about the token's.
    if (given !== undefined && timingSafeEqual(hashOf(given), this.#tokenHash)) return
    const what = given === undefined ? 'send the header "Authorization: Bearer TOKEN"' : 'the token is wrong'
    throw new FescueError(
      'FESCUE_NOT_AUTHORIZED',
      `${what}: it stands in the file "token" of the data folder`,
    )
  }

  #isOurs(name: string): boolean {
    if (this.#hosts.has(name)) return true
    // An address cannot be re-bound. On the loopback only its own addresses make sense.
    return isIP(name) !== 0 && (this.#onNetwork || isLoopback(name))
  }
}

/** The name in a Host header, lower case, without port and brackets; undefined when malformed. */
function hostName(host: string): string | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+))(?::\d{1,5})?$/.exec(host)
  return (match?.[1] ?? match?.[2])?.toLowerCase()
}

function hashOf(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
