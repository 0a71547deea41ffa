/**
 * URL and URLSearchParams for an isolate. Parsing is Node's own, over a sync call of the host that takes and gives JSON;
 * the query is handled here.
 */

/** Parts of a URL as Node gives them. */
export interface UrlParts {
  readonly href: string
  readonly origin: string
  readonly protocol: string
  readonly username: string
  readonly password: string
  readonly host: string
  readonly hostname: string
  readonly port: string
  readonly pathname: string
  readonly search: string
  readonly hash: string
}

/** Parses `href` against `base`, then sets `part` to `value`; undefined when it is no URL. */
export type ParseUrl = (href: string, base?: string, part?: string, value?: string) => UrlParts | undefined

const unreserved = /[A-Za-z0-9*\-._]/

/** application/x-www-form-urlencoded of one name or value. */
function formEncode(text: string): string {
  let encoded = ''
  for (const character of text) {
    if (unreserved.test(character)) encoded += character
    else if (character === ' ') encoded += '+'
    else
      encoded += encodeURIComponent(character.isWellFormed() ? character : '\ufffd').replace(
        /[!'()~]/g,
        mark => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`,
      )
  }
  return encoded
}

function formDecode(text: string): string {
  const spaced = text.replaceAll('+', ' ')
  try {
    return decodeURIComponent(spaced)
  } catch {
    // A stray % stays as it is; sequences that are not UTF-8 become U+FFFD.
    return spaced.replace(/(?:%[0-9a-fA-F]{2})+/g, run => {
      try {
        return decodeURIComponent(run)
      } catch {
        return '\ufffd'
      }
    })
  }
}

type Pair = [name: string, value: string]

export class GuestUrlSearchParams {
  #pairs: Pair[] = []
  #changed: (() => void) | undefined

  constructor(init?: unknown) {
    if (init === undefined || init === null) return
    if (typeof init === 'object' && Symbol.iterator in init)
      for (const pair of init as Iterable<Pair>) this.append(pair[0], pair[1])
    else if (typeof init === 'object')
      for (const [name, value] of Object.entries(init)) this.append(name, value)
    else this.read(String(init))
  }

  /** Ties the query to its URL. */
  bind(changed: () => void): void {
    this.#changed = changed
  }

  /** Replaces all pairs by those of a query text. */
  read(query: string): void {
    const text = query.startsWith('?') ? query.slice(1) : query
    this.#pairs = text
      .split('&')
      .filter(part => part !== '')
      .map(part => {
        const equals = part.indexOf('=')
        return equals < 0
          ? [formDecode(part), '']
          : [formDecode(part.slice(0, equals)), formDecode(part.slice(equals + 1))]
      })
  }

  get size(): number {
    return this.#pairs.length
  }

  append(name: unknown, value: unknown): void {
    this.#pairs.push([String(name), String(value)])
    this.#changed?.()
  }

  delete(name: string, value?: string): void {
    this.#pairs = this.#pairs.filter(pair => pair[0] !== name || (value !== undefined && pair[1] !== value))
    this.#changed?.()
  }

  get(name: string): string | null {
    return this.#pairs.find(pair => pair[0] === name)?.[1] ?? null
  }

  getAll(name: string): string[] {
    return this.#pairs.filter(pair => pair[0] === name).map(pair => pair[1])
  }

  has(name: string, value?: string): boolean {
    return this.#pairs.some(pair => pair[0] === name && (value === undefined || pair[1] === value))
  }

  set(name: unknown, value: unknown): void {
    const at = this.#pairs.findIndex(pair => pair[0] === String(name))
    if (at < 0) {
      this.append(name, value)
      return
    }
    this.#pairs = this.#pairs.filter((pair, i) => i <= at || pair[0] !== String(name))
    this.#pairs[at] = [String(name), String(value)]
    this.#changed?.()
  }

  sort(): void {
    this.#pairs.sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0))
    this.#changed?.()
  }

  forEach(each: (value: string, name: string, params: this) => void): void {
    for (const [name, value] of this.#pairs) each(value, name, this)
  }

  *keys(): Generator<string> {
    for (const pair of this.#pairs) yield pair[0]
  }

  *values(): Generator<string> {
    for (const pair of this.#pairs) yield pair[1]
  }

  *entries(): Generator<Pair> {
    for (const [name, value] of this.#pairs) yield [name, value]
  }

  [Symbol.iterator](): Generator<Pair> {
    return this.entries()
  }

  toString(): string {
    return this.#pairs.map(pair => `${formEncode(pair[0])}=${formEncode(pair[1])}`).join('&')
  }
}

const settableParts: readonly (keyof UrlParts)[] = [
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
]

/** The class `URL` over a parser of the host. */
export function makeUrlClass(parse: ParseUrl): unknown {
  class GuestUrl {
    #parts: UrlParts
    #query: GuestUrlSearchParams | undefined

    constructor(href: unknown, base?: unknown) {
      const parts = parse(String(href), base === undefined ? undefined : String(base))
      if (parts === undefined)
        throw Object.assign(new TypeError('Invalid URL'), { code: 'ERR_INVALID_URL', input: String(href) })
      this.#parts = parts
    }

    static canParse(href: unknown, base?: unknown): boolean {
      return parse(String(href), base === undefined ? undefined : String(base)) !== undefined
    }

    static parse(href: unknown, base?: unknown): GuestUrl | null {
      return GuestUrl.canParse(href, base) ? new GuestUrl(href, base) : null
    }

    get origin(): string {
      return this.#parts.origin
    }

    get searchParams(): GuestUrlSearchParams {
      if (this.#query === undefined) {
        const query = new GuestUrlSearchParams(this.#parts.search)
        query.bind(() => this.#set('search', query.toString()))
        this.#query = query
      }
      return this.#query
    }

    #set(part: string, value: string): void {
      this.#parts = parse(this.#parts.href, undefined, part, value) ?? this.#parts
    }

    static {
      for (const name of settableParts)
        Object.defineProperty(GuestUrl.prototype, name, {
          get(this: GuestUrl) {
            return this.#parts[name]
          },
          set(this: GuestUrl, value: unknown) {
            this.#set(name, String(value))
            if (name === 'search' || name === 'href') this.#query?.read(this.#parts.search)
          },
          enumerable: true,
          configurable: true,
        })
    }

    toString(): string {
      return this.#parts.href
    }

    toJSON(): string {
      return this.#parts.href
    }
  }
  Object.defineProperty(GuestUrl, 'name', { value: 'URL' })
  return GuestUrl
}
