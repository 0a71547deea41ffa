/** The log and the configuration over the API. */
import t from 'tap'
import { logLinesListMax } from '#api/log-routes.ts'
import { FescueError } from '#base/errors.ts'
import { startRig } from './api-rig.ts'

const entry = { seq: 3, time: 1, level: 'warn' as const, part: 'store', message: 'the disk is full' }

t.test('recent lines, as asked for', async t => {
  await using rig = await startRig()
  rig.backend.logEntries = [entry]
  t.match(await rig.ask('/api/v1/logs'), { status: 200, body: [entry] })
  await rig.ask('/api/v1/logs?limit=5&function=f&level=error&since=17&after=2')
  t.same(rig.backend.calls, [
    ['logLines', { limit: 100 }],
    ['logLines', { limit: 5, function: 'f', level: 'error', since: 17, after: 2 }],
  ])
  t.equal((await rig.askBare('/api/v1/logs')).status, 401, 'logs may hold anything: only with the token')
})

t.test('what makes no sense is said', async t => {
  await using rig = await startRig()
  for (const [query, word] of [
    ['level=loud', /debug, info, warn, error/],
    ['since=yesterday', /since is a whole number/],
    ['after=-1', /after/],
    ['limit=0', /limit/],
    [`limit=${logLinesListMax + 1}`, /limit/],
    ['function=a/b', /function/],
  ] as const)
    t.match(await rig.ask(`/api/v1/logs?${query}`), { status: 400, body: { detail: word } }, query)
  t.same(rig.backend.calls, [])
})

t.test('a stream has those that are there, then each that comes, until it is closed', async t => {
  await using rig = await startRig()
  rig.backend.logEntries = [entry]
  {
    using stream = await rig.stream('/api/v1/logs?follow=1&after=0')
    t.same(JSON.parse(await stream.line()), entry)
    for (const listener of rig.backend.logListeners) listener({ ...entry, seq: 4 })
    t.equal(JSON.parse(await stream.line()).seq, 4)
  }
  while (rig.backend.logListeners.size > 0) await new Promise(resolve => setImmediate(resolve))
  t.pass('nobody is told any more')
})

t.test('config: what is in force, and taking up a change', async t => {
  await using rig = await startRig()
  t.match(await rig.ask('/api/v1/config'), { status: 200, body: [{ key: 'mqtt.port', value: 1883 }] })
  t.equal((await rig.askBare('/api/v1/config')).status, 401)
  const reload = () => rig.ask('/api/v1/config/reload', { method: 'POST' })
  const change = { key: 'routes', effect: 'live', where: 'f:1:1' } as const
  rig.backend.reloadOutcome = { outcome: 'applied', changes: [change] }
  t.match(await reload(), { status: 200, body: { outcome: 'applied', changes: [change] } })
  const port = { key: 'mqtt.port', effect: 'restart', where: 'f:2:1' } as const
  rig.backend.reloadOutcome = { outcome: 'restart', changes: [change, port] }
  t.match(await reload(), {
    status: 409,
    body: {
      code: 'FESCUE_RESTART_NEEDED',
      detail: /^mqtt\.port can change with a restart only/,
      changes: [change, port],
    },
  })
  rig.backend.failure = new FescueError('FESCUE_CONFIG_INVALID', 'f:1:1: unknown key')
  t.match(await reload(), { status: 400, body: { detail: 'f:1:1: unknown key' } })
  t.equal((await rig.ask('/api/v1/config/reload')).status, 405, 'a look changes nothing')
})

t.test('dead letters are of a function or of a route', async t => {
  await using rig = await startRig()
  const post = (body: unknown) => rig.ask('/api/v1/dead-letters/retry', { method: 'POST', body })
  t.equal((await post({ route: 'alarms.5', offsets: [1] })).status, 200)
  t.same(rig.backend.calls.at(-1), ['retry', { route: 'alarms.5', offsets: [1] }])
  for (const body of [{}, { function: 'f', route: 'r' }, { route: 'a/b' }])
    t.equal((await post(body)).status, 400, JSON.stringify(body))
  await rig.ask('/api/v1/dead-letters?route=alarms')
  t.same(rig.backend.calls.at(-1), ['deadLetters', { route: 'alarms', limit: 100 }])
})
