/** A request as routes see it: its path's names, its query, its body as JSON; each checked when it is asked for. */
import type { IncomingMessage } from 'node:http'
import { FescueError } from '#base/errors.ts'
import { checkName } from '#base/ids.ts'

/** Bytes of a request body. */
export const bodyMaxBytes = 1024 * 1024

export class ApiRequest {
  readonly #message: IncomingMessage
  readonly #names: Readonly<Record<string, string>>
  readonly query: URLSearchParams

  constructor(message: IncomingMessage, names: Readonly<Record<string, string>>, query: URLSearchParams) {
    this.#message = message
    this.#names = names
    this.query = query
  }

  /** A name of the path (`:name`). Errors: FESCUE_NAME_INVALID. */
  name(key: string): string {
    const name = this.#names[key] ?? ''
    checkName(key, name)
    return name
  }

  /** A whole number of the query, within bounds. Errors: FESCUE_REQUEST_INVALID. */
  count(key: string, preset: number, max: number): number {
    const text = this.query.get(key)
    if (text === null) return preset
    const value = Number(text)
    if (/^\d+$/.test(text) && value >= 1 && value <= max) return value
    throw invalid(`${key} is a whole number from 1 to ${max}, not "${text}"`)
  }

  accepts(type: string): boolean {
    return (this.#message.headers.accept ?? '').includes(type)
  }

  /** The body as sent, known to be JSON; `{}` when there is none. */
  async bytes(): Promise<Buffer> {
    const body = await readBody(this.#message)
    if (body.length === 0) return Buffer.from('{}')
    checkMediaType(this.#message)
    parse(body)
    return body
  }

  /** The body as a JSON object. Errors: FESCUE_MEDIA_TYPE, FESCUE_REQUEST_INVALID, FESCUE_REQUEST_TOO_LARGE. */
  async fields(known: readonly string[]): Promise<Fields> {
    const value = parse(await this.bytes())
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw invalid('the body is a JSON object')
    return new Fields(value as Record<string, unknown>, known)
  }
}

/** A JSON object whose fields are checked one by one. Unknown fields are refused. */
export class Fields {
  readonly #value: Record<string, unknown>

  constructor(value: Record<string, unknown>, known: readonly string[]) {
    this.#value = value
    const unknown = Object.keys(value).find(key => !known.includes(key))
    if (unknown !== undefined) throw invalid(`unknown field "${unknown}": there are ${known.join(', ')}`)
  }

  has(key: string): boolean {
    return this.#value[key] !== undefined
  }

  raw(key: string): unknown {
    return this.#value[key]
  }

  text(key: string): string {
    const value = this.#value[key]
    if (typeof value === 'string') return value
    throw invalid(`${key} is a text`)
  }

  flag(key: string, preset?: boolean): boolean {
    const value = this.#value[key] ?? preset
    if (typeof value === 'boolean') return value
    throw invalid(`${key} is true or false`)
  }

  /** A list of whole numbers, or undefined when absent. */
  numbers(key: string, countMax: number): readonly number[] | undefined {
    const value = this.#value[key]
    if (value === undefined) return undefined
    if (
      Array.isArray(value) &&
      value.length <= countMax &&
      value.every(item => Number.isSafeInteger(item) && item >= 0)
    )
      return value
    throw invalid(`${key} is a list of at most ${countMax} whole numbers`)
  }
}

export function invalid(message: string): FescueError {
  return new FescueError('FESCUE_REQUEST_INVALID', message)
}

function parse(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'))
  } catch (error) {
    throw invalid(`the body is no JSON: ${error instanceof Error ? error.message : String(error)}`)
  }
}

function checkMediaType(message: IncomingMessage): void {
  const type = message.headers['content-type'] ?? ''
  if (/^application\/([a-z0-9.+-]+\+)?json\s*(;|$)/i.test(type)) return
  throw new FescueError(
    'FESCUE_MEDIA_TYPE',
    `the body is "${type}": send it with the header Content-Type: application/json`,
  )
}

async function readBody(message: IncomingMessage): Promise<Buffer> {
  const tooLarge = () =>
    new FescueError('FESCUE_REQUEST_TOO_LARGE', `the body is larger than ${bodyMaxBytes} bytes`)
  if (Number(message.headers['content-length'] ?? 0) > bodyMaxBytes) throw tooLarge()
  const chunks: Buffer[] = []
  let bytes = 0
  return new Promise((resolve, reject) => {
    message.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > bodyMaxBytes) reject(tooLarge())
      else chunks.push(chunk)
    })
    message.on('end', () => resolve(Buffer.concat(chunks)))
    message.on('error', reject)
    message.on('close', () => reject(invalid('the request ended early')))
  })
}
