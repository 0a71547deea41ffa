/** Which route a method and path mean: a small table, matched level by level. */
import { FescueError } from '#base/errors.ts'
import { nearest } from '#base/nearest.ts'
import type { Access } from './guard.ts'
import type { Reply } from './reply.ts'
import type { ApiRequest } from './request.ts'

export interface Route {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** `/api/v1/functions/:name`: a level that begins with a colon takes any text. */
  readonly path: string
  readonly access: Access
  readonly handle: (request: ApiRequest) => Reply | Promise<Reply>
}

export interface RouteMatch {
  readonly route: Route
  readonly names: Readonly<Record<string, string>>
}

interface Entry {
  readonly levels: readonly string[]
  readonly route: Route
}

export class RouteTable {
  readonly #entries: readonly Entry[]

  constructor(routes: readonly Route[]) {
    this.#entries = routes.map(route => ({ levels: route.path.split('/'), route }))
  }

  /** Errors: FESCUE_NOT_FOUND, FESCUE_METHOD_NOT_ALLOWED. HEAD finds the route of GET. */
  find(method: string, path: string): RouteMatch {
    const levels = path.split('/').map(decode)
    const wanted = method === 'HEAD' ? 'GET' : method
    const methods: string[] = []
    for (const entry of this.#entries) {
      const names = namesOf(entry.levels, levels)
      if (names === undefined) continue
      if (entry.route.method === wanted) return { route: entry.route, names }
      methods.push(entry.route.method)
    }
    if (methods.length > 0)
      throw new FescueError('FESCUE_METHOD_NOT_ALLOWED', `${path} takes ${methods.join(', ')}, not ${method}`)
    const close = nearest(path, new Set(this.#entries.map(({ route }) => route.path)))
    const mend = close === undefined ? 'see /api/v1/status' : `did you mean ${close}?`
    throw new FescueError('FESCUE_NOT_FOUND', `there is nothing at ${path}: ${mend}`)
  }

  /** Methods that a path takes, for the Allow header. */
  methodsOf(path: string): readonly string[] {
    const levels = path.split('/').map(decode)
    return this.#entries
      .filter(entry => namesOf(entry.levels, levels) !== undefined)
      .map(({ route }) => route.method)
  }
}

function namesOf(pattern: readonly string[], levels: readonly string[]): Record<string, string> | undefined {
  if (pattern.length !== levels.length) return undefined
  const names: Record<string, string> = {}
  for (const [index, wanted] of pattern.entries()) {
    const level = levels[index] ?? ''
    if (wanted.startsWith(':') && level !== '') names[wanted.slice(1)] = level
    else if (wanted !== level) return undefined
  }
  return names
}

function decode(level: string): string {
  try {
    return decodeURIComponent(level)
  } catch {
    throw new FescueError('FESCUE_REQUEST_INVALID', `the path has a broken escape: ${level}`)
  }
}
