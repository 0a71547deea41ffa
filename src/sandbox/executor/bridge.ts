/**
 * What a context may call of the executor, each a sync call: `flush` (output), `random`, `url`, `source`.
 *
 * No call throws, since an error would carry the executor's stack into the function; it answers undefined instead. Sizes are
 * checked here, because a function that breaks out of the trampoline could call with anything (D5).
 */
import { createCipheriv, createHmac } from 'node:crypto'
import type { IsolatedVm } from './native.ts'

/** Bytes of randomness in a block. */
const blockBytes = 1024
/** Characters of a URL that is parsed. */
const urlCharactersMax = 65_536

const settableParts = new Set([
  'href',
  'protocol',
  'username',
  'password',
  'host',
  'hostname',
  'port',
  'pathname',
  'search',
  'hash',
])

/** Block `block` of the stream of the invocation `id`: AES-256-CTR under HMAC-SHA256(seedKey, id). */
export function randomBlock(seedKey: string, id: string, block: number): Buffer {
  const key = createHmac('sha256', Buffer.from(seedKey, 'hex')).update(id).digest()
  const counter = Buffer.alloc(16)
  counter.writeUInt32BE(block >>> 0, 4)
  return createCipheriv('aes-256-ctr', key, counter).update(Buffer.alloc(blockBytes))
}

/** Node's URL of the arguments as JSON; undefined when it is none. */
export function parseUrl(href: unknown, base: unknown, part: unknown, value: unknown): string | undefined {
  if (typeof href !== 'string' || href.length > urlCharactersMax) return undefined
  try {
    const url = new URL(href, typeof base === 'string' ? base : undefined)
    if (typeof part === 'string' && settableParts.has(part)) Reflect.set(url, part, value)
    const { origin, protocol, username, password, host, hostname, port, pathname, search, hash } = url
    return JSON.stringify({
      href: url.href,
      origin,
      protocol,
      username,
      password,
      host,
      hostname,
      port,
      pathname,
      search,
      hash,
    })
  } catch {
    return undefined
  }
}

export interface BridgeParts {
  readonly vm: IsolatedVm
  readonly seedKey: string
  /** An expression whose value is `Buffer`, or empty. */
  readonly buffer: string
  flush(written: number, field: string | ArrayBuffer | undefined): void
}

/** Answers one call of a context. */
export function answerCall(
  parts: BridgeParts,
  name: unknown,
  a: unknown,
  b: unknown,
  c: unknown,
  d: unknown,
): unknown {
  switch (name) {
    case 'flush': {
      const field = typeof b === 'string' || b instanceof ArrayBuffer ? b : undefined
      if (typeof a === 'number') parts.flush(a, field)
      return undefined
    }
    case 'random': {
      if (typeof a !== 'string' || a.length > 64 || typeof b !== 'number') return undefined
      const bytes = randomBlock(parts.seedKey, a, b)
      const copy = new ArrayBuffer(bytes.length)
      new Uint8Array(copy).set(bytes)
      return new parts.vm.ExternalCopy(copy, { transferOut: true }).copyInto({
        transferIn: true,
        release: true,
      })
    }
    case 'url':
      return parseUrl(a, b, c, d)
    case 'source':
      return a === 'buffer' && parts.buffer !== '' ? parts.buffer : undefined
    default:
      return undefined
  }
}
