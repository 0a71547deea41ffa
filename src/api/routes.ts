/** The routes of the admin API: each turns a request into one call of the backend and its answer into JSON. */
import { errorTable, FescueError } from '#base/errors.ts'
import { checkName } from '#base/ids.ts'
import { problemOfFilter } from '#base/topics.ts'
import type { Backend, DeadLetterSelection, InvokeOutcome, ReloadOutcome } from './backend.ts'
import { logRoutes } from './log-routes.ts'
import { liveMessage, publishInput } from './message-json.ts'
import type { Exposition } from './metrics.ts'
import { empty, type Headers, json, jsonText, problem, type Reply } from './reply.ts'
import { type ApiRequest, invalid } from './request.ts'
import type { Route } from './route-table.ts'

/** Dead letters in one answer. */
export const deadLettersListMax = 1_000
/** Dead letters that one request may name. */
export const deadLettersNamedMax = 1_000

export function routesOf(backend: Backend, metrics: Exposition): readonly Route[] {
  return [
    ...probeRoutes(backend, metrics),
    ...functionRoutes(backend),
    ...deadLetterRoutes(backend),
    ...deviceRoutes(backend),
    ...messageRoutes(backend),
    ...logRoutes(backend),
    ...configRoutes(backend),
  ]
}

function probeRoutes(backend: Backend, metrics: Exposition): readonly Route[] {
  return [
    {
      method: 'GET',
      path: '/healthz',
      access: 'loopback',
      handle: () => json({ status: backend.health().state, ...backend.health() }),
    },
    { method: 'GET', path: '/readyz', access: 'loopback', handle: request => ready(backend, request) },
    {
      method: 'GET',
      path: '/metrics',
      access: 'loopback',
      handle: async () => ({
        kind: 'body',
        status: 200,
        type: metrics.contentType,
        body: await metrics.text(),
        headers: {},
      }),
    },
    { method: 'GET', path: '/errors/:code', access: 'open', handle: explainError },
    {
      method: 'GET',
      path: '/api/v1/status',
      access: 'token',
      handle: async () => json(await backend.status()),
    },
    {
      method: 'GET',
      path: '/api/v1/buffer',
      access: 'token',
      handle: async () => json(await backend.buffer()),
    },
    { method: 'POST', path: '/api/v1/link', access: 'token', handle: request => setLink(backend, request) },
  ]
}

function functionRoutes(backend: Backend): readonly Route[] {
  return [
    {
      method: 'GET',
      path: '/api/v1/functions',
      access: 'token',
      handle: async () => json(await backend.functions()),
    },
    {
      method: 'GET',
      path: '/api/v1/functions/:name',
      access: 'token',
      handle: async request => json(await backend.function(request.name('name'))),
    },
    {
      method: 'DELETE',
      path: '/api/v1/functions/:name',
      access: 'token',
      handle: async request => json(await backend.purge(request.name('name'))),
    },
    {
      method: 'POST',
      path: '/api/v1/functions/:name/invoke',
      access: 'token',
      handle: request => invoke(backend, request),
    },
  ]
}

function deadLetterRoutes(backend: Backend): readonly Route[] {
  return [
    {
      method: 'GET',
      path: '/api/v1/dead-letters',
      access: 'token',
      handle: async request => {
        const limit = request.count('limit', 100, deadLettersListMax)
        const { query } = request
        const whose = Object.fromEntries(
          ['function', 'route'].flatMap(kind => {
            const name = query.get(kind)
            if (name !== null) checkName(kind, name)
            return name === null ? [] : [[kind, name]]
          }),
        )
        return json(await backend.deadLetters({ ...whose, limit }))
      },
    },
    {
      method: 'POST',
      path: '/api/v1/dead-letters/retry',
      access: 'token',
      handle: async request => json(await backend.retryDeadLetters(await selection(request))),
    },
    {
      method: 'POST',
      path: '/api/v1/dead-letters/drop',
      access: 'token',
      handle: async request => json(await backend.dropDeadLetters(await selection(request))),
    },
  ]
}

function deviceRoutes(backend: Backend): readonly Route[] {
  return [
    {
      method: 'GET',
      path: '/api/v1/devices',
      access: 'token',
      handle: async () => json(await backend.devices()),
    },
    {
      method: 'POST',
      path: '/api/v1/devices',
      access: 'token',
      handle: async request => json(await backend.addDevice((await request.fields(['name'])).text('name'))),
    },
    {
      method: 'DELETE',
      path: '/api/v1/devices/:name',
      access: 'token',
      handle: async request => {
        await backend.revokeDevice(request.name('name'))
        return empty()
      },
    },
  ]
}

function configRoutes(backend: Backend): readonly Route[] {
  return [
    { method: 'GET', path: '/api/v1/config', access: 'token', handle: () => json(backend.config()) },
    {
      method: 'POST',
      path: '/api/v1/config/reload',
      access: 'token',
      handle: async () => {
        const outcome = await backend.reloadConfig()
        return outcome.outcome === 'restart' ? problem(restartNeeded(outcome), outcome) : json(outcome)
      },
    },
  ]
}

function restartNeeded({ changes }: ReloadOutcome): FescueError {
  const keys = changes.filter(({ effect }) => effect === 'restart').map(({ key }) => key)
  const text = `${keys.join(', ')} can change with a restart only, so nothing was applied: restart the daemon`
  return new FescueError('FESCUE_RESTART_NEEDED', text)
}

function messageRoutes(backend: Backend): readonly Route[] {
  return [
    {
      method: 'POST',
      path: '/api/v1/publish',
      access: 'token',
      handle: async request => {
        await backend.publish(await publishInput(request))
        return empty()
      },
    },
    {
      method: 'GET',
      path: '/api/v1/messages',
      access: 'token',
      handle: request => {
        const filter = request.query.get('filter') ?? '#'
        const wrong = problemOfFilter(filter)
        if (wrong !== undefined)
          throw new FescueError('FESCUE_TOPIC_INVALID', `the filter "${filter}" ${wrong}`)
        return {
          kind: 'stream',
          open: stream => backend.messages(filter, message => stream.offer(() => liveMessage(message))),
        }
      },
    },
    {
      method: 'GET',
      path: '/api/v1/events',
      access: 'token',
      handle: () => ({ kind: 'stream', open: stream => backend.events(event => stream.offer(() => event)) }),
    },
  ]
}

function ready(backend: Backend, request: ApiRequest): Reply {
  const strict = request.query.get('strict') === '1'
  const checks = backend.ready()
  const isReady = checks.every(check => check.ok || (check.optional === true && !strict))
  const reply = json({ ready: isReady, checks })
  return reply.kind === 'body' && !isReady ? { ...reply, status: 503 } : reply
}

function explainError(request: ApiRequest): Reply {
  const code = request.name('code')
  const entry = Object.entries(errorTable).find(([known]) => known === code)
  if (entry === undefined) throw new FescueError('FESCUE_NOT_FOUND', `there is no error ${code}`)
  return json({ code, ...entry[1] })
}

/**
 * Lambda's way: the body is the event, the answer is the result. `?detail=1` wraps it with id, duration and the
 * number of published messages. A failure is a problem document with Lambda's error document in `error`.
 */
async function invoke(backend: Backend, request: ApiRequest): Promise<Reply> {
  const name = request.name('name')
  const payload = await request.bytes()
  const outcome = await backend.invoke(name, payload, {
    topic: request.query.get('topic') ?? `$invoke/${name}`,
  })
  const headers: Headers = {
    'fescue-invocation-id': outcome.invocationId,
    'fescue-duration-ms': outcome.durationMs.toFixed(3),
  }
  if (outcome.kind !== 'ok') return failure(name, outcome, headers)
  if (request.query.get('detail') !== '1') return jsonText(outcome.value, headers)
  const { invocationId, durationMs, published } = outcome
  return json({ invocationId, durationMs, published, value: JSON.parse(outcome.value) }, headers)
}

type Failure = Extract<InvokeOutcome, { kind: 'failed' | 'timeout' }>

function failure(name: string, { kind, error, invocationId, durationMs }: Failure, headers: Headers): Reply {
  const code = kind === 'timeout' ? 'FESCUE_FUNCTION_TIMEOUT' : 'FESCUE_FUNCTION_FAILED'
  const text = `function ${name}: ${error.errorType}: ${error.errorMessage}`
  // The header is how AWS Lambda's Invoke says that the function, not the service, failed.
  return problem(
    new FescueError(code, text),
    { error, invocationId, durationMs },
    {
      ...headers,
      'x-amz-function-error': 'Unhandled',
    },
  )
}

async function selection(request: ApiRequest): Promise<DeadLetterSelection> {
  const fields = await request.fields(['function', 'route', 'offsets'])
  if (fields.has('function') === fields.has('route'))
    throw invalid('the body needs "function" or "route", one of them')
  const kind = fields.has('route') ? 'route' : 'function'
  const name = fields.text(kind)
  checkName(kind, name)
  const offsets = fields.numbers('offsets', deadLettersNamedMax)
  return { [kind]: name, ...(offsets !== undefined && { offsets }) }
}

async function setLink(backend: Backend, request: ApiRequest): Promise<Reply> {
  const fields = await request.fields(['online', 'uplink'])
  if (!fields.has('online')) throw invalid('the body needs "online": true or false')
  const online = fields.flag('online')
  await backend.setLink(online, fields.has('uplink') ? fields.text('uplink') : undefined)
  return json({ online })
}
