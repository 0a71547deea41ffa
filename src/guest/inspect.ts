/**
 * Values as text for log lines, in the manner of Node's util.inspect, small and bounded.
 *
 * It stops at its character budget, so that a log line of a huge value costs what is shown, not what there is.
 */

const entriesMax = 100
const depthMax = 3

export class Inspector {
  readonly #charactersMax: number
  readonly #seen: object[] = []
  #text = ''

  constructor(charactersMax: number) {
    this.#charactersMax = charactersMax
  }

  get #full(): boolean {
    return this.#text.length >= this.#charactersMax
  }

  show(value: unknown, depth = 0): string {
    this.#value(value, depth)
    return this.#full ? `${this.#text.slice(0, this.#charactersMax)}…` : this.#text
  }

  #value(value: unknown, depth: number): void {
    if (this.#full) return
    if (typeof value === 'string') {
      const shown = value.slice(0, this.#charactersMax)
      this.#text += depth === 0 ? shown : `'${shown}'`
    } else if (typeof value === 'bigint') this.#text += `${value}n`
    else if (typeof value === 'symbol') this.#text += String(value)
    else if (typeof value === 'function') this.#text += `[Function: ${value.name || '(anonymous)'}]`
    else if (typeof value !== 'object' || value === null) this.#text += String(value)
    else this.#object(value, depth)
  }

  #object(value: object, depth: number): void {
    if (this.#seen.includes(value)) {
      this.#text += '[Circular]'
      return
    }
    if (value instanceof Error) {
      this.#text += String(value.stack ?? `${value.name}: ${value.message}`)
      return
    }
    if (value instanceof Date) {
      this.#text += Number.isNaN(value.getTime()) ? 'Invalid Date' : value.toISOString()
      return
    }
    if (value instanceof RegExp) {
      this.#text += String(value)
      return
    }
    if (depth >= depthMax) {
      this.#text += Array.isArray(value) ? '[Array]' : '[Object]'
      return
    }
    this.#seen.push(value)
    this.#entries(value, depth)
    this.#seen.pop()
  }

  #entries(value: object, depth: number): void {
    if (Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView))) {
      const list = value as unknown as ArrayLike<unknown>
      const name = Array.isArray(value) ? '' : `${value.constructor.name}(${list.length}) `
      this.#list(`${name}[`, ']', list.length, i => this.#value(list[i], depth + 1))
    } else if (value instanceof Map) {
      const pairs = [...value.entries()].slice(0, entriesMax + 1)
      this.#list(`Map(${value.size}) {`, '}', value.size, i => {
        this.#value(pairs[i]?.[0], depth + 1)
        this.#text += ' => '
        this.#value(pairs[i]?.[1], depth + 1)
      })
    } else if (value instanceof Set) {
      const members = [...value].slice(0, entriesMax + 1)
      this.#list(`Set(${value.size}) {`, '}', value.size, i => this.#value(members[i], depth + 1))
    } else {
      const name = value.constructor?.name
      const keys = Object.keys(value)
      this.#list(name === undefined || name === 'Object' ? '{' : `${name} {`, '}', keys.length, i => {
        const key = keys[i] ?? ''
        this.#text += `${/^[A-Za-z_$][\w$]*$/.test(key) ? key : `'${key}'`}: `
        const property = Object.getOwnPropertyDescriptor(value, key)
        if (property?.get !== undefined) this.#text += '[Getter]'
        else this.#value(property?.value, depth + 1)
      })
    }
  }

  #list(open: string, close: string, length: number, each: (i: number) => void): void {
    const space = length > 0 && close === '}' ? ' ' : ''
    this.#text += open + space
    for (let i = 0; i < length && !this.#full; i++) {
      if (i > 0) this.#text += ', '
      if (i === entriesMax) {
        this.#text += `… ${length - i} more`
        break
      }
      each(i)
    }
    this.#text += space + close
  }
}

/** The arguments of a console call as one text: `%s %d %i %f %j %o %O %%` as in Node. */
export function formatLine(args: readonly unknown[], charactersMax: number): string {
  let line = ''
  let next = 0
  if (typeof args[0] === 'string' && args.length > 1) {
    next = 1
    line = args[0].slice(0, charactersMax).replace(/%[sdifjoOc%]/g, mark => {
      if (mark === '%%') return '%'
      if (next >= args.length) return mark
      return formatMark(mark, args[next++], charactersMax)
    })
  }
  for (; next < args.length && line.length < charactersMax; next++)
    line +=
      (line === '' && next === 0 ? '' : ' ') + new Inspector(charactersMax - line.length).show(args[next])
  return line.length > charactersMax ? `${line.slice(0, charactersMax)}…` : line
}

function formatMark(mark: string, value: unknown, charactersMax: number): string {
  switch (mark) {
    case '%d':
      return typeof value === 'bigint' ? `${value}n` : String(Number(value))
    case '%i':
      return String(Number.parseInt(String(value), 10))
    case '%f':
      return String(Number.parseFloat(String(value)))
    case '%c':
      return ''
    case '%j':
      return String(JSON.stringify(value)).slice(0, charactersMax)
    case '%s':
      return new Inspector(charactersMax).show(value)
    default:
      return new Inspector(charactersMax).show(value, typeof value === 'string' ? 1 : 0)
  }
}
