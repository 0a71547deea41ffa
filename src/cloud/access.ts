/**
 * Who may do what at the endpoint: one token per device, which writes and reads that device alone; the token
 * of `*` reads all. Without tokens everything is allowed, and the endpoint listens on loopback only.
 */
import { createHash } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { FescueError } from '#base/errors.ts'

/** Whose credentials a request carries: `all` reads every device and, without tokens, writes them too. */
export type Caller =
  | { readonly kind: 'anyone' }
  | { readonly kind: 'reader' }
  | { readonly kind: 'device'; readonly device: string }

function digest(token: string): string {
  return createHash('sha256').update(token).digest('hex')
}

export class Access {
  /** Digests, so that looking one up tells nothing about the others by its duration. */
  readonly #callers = new Map<string, Caller>()

  constructor(tokens: Readonly<Record<string, string>>) {
    for (const [device, token] of Object.entries(tokens))
      this.#callers.set(digest(token), device === '*' ? { kind: 'reader' } : { kind: 'device', device })
  }

  /** Errors: FESCUE_NOT_AUTHORIZED. */
  callerOf(headers: IncomingHttpHeaders): Caller {
    if (this.#callers.size === 0) return { kind: 'anyone' }
    const [scheme = '', token = ''] = (headers.authorization ?? '').split(' ')
    const caller = scheme.toLowerCase() === 'bearer' ? this.#callers.get(digest(token)) : undefined
    if (caller === undefined) throw new FescueError('FESCUE_NOT_AUTHORIZED', 'missing or unknown token')
    return caller
  }
}

export function mayRead(caller: Caller, device: string): boolean {
  return caller.kind !== 'device' || caller.device === device
}

/** Errors: FESCUE_FORBIDDEN. */
export function checkRead(caller: Caller, device: string): void {
  if (!mayRead(caller, device))
    throw new FescueError('FESCUE_FORBIDDEN', `the token is not that of ${device}`)
}

/** Errors: FESCUE_FORBIDDEN. */
export function checkWrite(caller: Caller, device: string): void {
  const may = caller.kind === 'anyone' || (caller.kind === 'device' && caller.device === device)
  if (!may) throw new FescueError('FESCUE_FORBIDDEN', `the token may not write as ${device}`)
}
