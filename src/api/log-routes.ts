/**
 * The log over the API.
 *
 *   GET /api/v1/logs?function=&level=&since=&limit=    recent lines, a JSON list, oldest first
 *                    &follow=1&after=SEQ               a stream: those since SEQ, then each new one
 */
import { checkName } from '#base/ids.ts'
import type { Backend, LogEntry, LogQuery } from './backend.ts'
import { json } from './reply.ts'
import { type ApiRequest, invalid } from './request.ts'
import type { Route } from './route-table.ts'

/** Lines in one answer. */
export const logLinesListMax = 10_000
const levels: readonly LogEntry['level'][] = ['debug', 'info', 'warn', 'error']

export function logRoutes(backend: Backend): readonly Route[] {
  return [
    {
      method: 'GET',
      path: '/api/v1/logs',
      access: 'token',
      handle: request => {
        const query = queryOf(request)
        if (request.query.get('follow') !== '1') return json(backend.logLines(query))
        return {
          kind: 'stream',
          open: stream => backend.followLogLines(query, entry => stream.offer(() => entry)),
        }
      },
    },
  ]
}

function queryOf(request: ApiRequest): LogQuery {
  const { query } = request
  const name = query.get('function')
  if (name !== null) checkName('function', name)
  const level = levels.find(each => each === query.get('level'))
  if (query.has('level') && level === undefined) throw invalid(`level is one of ${levels.join(', ')}`)
  return {
    limit: request.count('limit', 100, logLinesListMax),
    ...(name !== null && { function: name }),
    ...(level !== undefined && { level }),
    ...(query.has('since') && { since: wholeNumber(query, 'since') }),
    ...(query.has('after') && { after: wholeNumber(query, 'after') }),
  }
}

function wholeNumber(query: URLSearchParams, key: string): number {
  const text = query.get(key) ?? ''
  if (/^\d{1,15}$/.test(text)) return Number(text)
  throw invalid(`${key} is a whole number, not "${text}"`)
}
