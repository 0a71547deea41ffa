import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { manifestReader } from '#invoker/manifest.ts'
import { manifestSchema } from '#invoker/manifest-schema.ts'

const read = await manifestReader()
const parse = (text: string) => read('f', text, 'functions/f/function.yaml')
/** The lines of the error that a text gives. */
function problems(text: string): string[] {
  try {
    parse(text)
    return []
  } catch (error) {
    if (!(error instanceof Error)) throw error
    return error.message.split('\n').map(line => line.replace('functions/f/function.yaml:', ''))
  }
}

t.test('an empty manifest has every default', async t => {
  t.same(parse(''), {
    description: '',
    handler: 'index.handler',
    topics: [],
    schedules: [],
    publish: [],
    publishPerSecond: 100_000,
    environment: {},
    timeoutMs: 3_000,
    memoryMiB: 32,
    concurrency: 1,
    orderBy: 'none',
    retry: { attempts: 3, backoffMs: 1_000 },
    idleMs: 60_000,
    payload: 'json',
    isolation: 'shared',
    timeZone: 'UTC',
    allow: [],
  })
})

t.test('units, triggers and environment are read', async t => {
  t.match(
    parse(`
timeout: 500ms
memory: 64MiB
concurrency: 8
orderBy: topic
retry: { attempts: 5, backoff: 250 }
environment: { THRESHOLD: 28, NAME: fan, ON: true }
triggers:
  - topic: sensors/+/temperature
    qos: 1
    retained: false
  - schedule: '0 0 3 * * *'
    name: nightly
    timezone: Europe/Berlin
  - schedule: '@hourly'
`),
    {
      timeoutMs: 500,
      memoryMiB: 64,
      concurrency: 8,
      orderBy: 'topic',
      retry: { attempts: 5, backoffMs: 250 },
      environment: { THRESHOLD: '28', NAME: 'fan', ON: 'true' },
      topics: [{ topic: 'sensors/+/temperature', qos: 1, retained: false }],
      schedules: [
        { name: 'nightly', schedule: '0 0 3 * * *', timeZone: 'Europe/Berlin' },
        { name: 'f', schedule: '@hourly', timeZone: 'UTC' },
      ],
    },
  )
})

t.test('each problem names line, column, key and the nearest valid name', async t => {
  t.match(problems('trigers:\n  - topic: a\nretry: {atempts: 3}\npayload: jsno\n').sort(), [
    /^1:1: unknown key trigers: did you mean triggers\?/,
    /^3:9: unknown key retry\.atempts: did you mean retry\.attempts\?/,
    /^4:10: payload must be one of json, binary, not "jsno": did you mean json\?/,
  ])
  t.match(
    problems('timeout: 1h\nmemory: 4MiB\n'),
    [
      /^1:10: timeout must be from 1 to 900000 ms/,
      /^2:9: memory must be from 8388608 to 1073741824 bytes/,
    ].reverse(),
  )
  t.match(problems('a: [1\n'), [/^\d:\d+: /])
  t.match(problems('timeout: 1s\ntimeout: 2s\n'), [/^2:1: .*unique/i])
})

t.test('what no schema can say is checked too', async t => {
  const cases: [string, RegExp][] = [
    ['triggers:\n  - topic: a/#/b\n', /^2:12: triggers\[0\]\.topic "a\/#\/b" "#" stands only alone/],
    ['triggers:\n  - topic: $share/g/a\n', /shared subscription/],
    ['triggers:\n  - qos: 1\n', /triggers\[0\] must have either "topic" or "schedule"/],
    ['triggers:\n  - topic: a\n  - topic: a\n', /^3:12: .*"a" is there twice/],
    ['triggers:\n  - topic: a\n    timezone: UTC\n', /timezone belongs to a schedule/],
    ['triggers:\n  - schedule: "* * * * * *"\n    qos: 1\n', /qos belongs to a topic/],
    ['triggers:\n  - schedule: "61 * * * * *"\n', /is no cron expression "second minute/],
    ['triggers:\n  - schedule: "0 0 30 2 *"\n', /never comes/],
    ['triggers:\n  - schedule: "@daily"\n  - schedule: "@hourly"\n', /two schedules are called "f"/],
    ['timezone: Mars/Olympus\n', /^1:11: timezone "Mars\/Olympus" is no IANA time zone/],
    ['permissions:\n  publish: [a, b#]\n', /^2:16: permissions\.publish\[1\] "b#"/],
    ['environment: {A-B: 1}\n', /environment\.A-B is no name of a variable/],
    [`environment: {A: ${'x'.repeat(5_000)}}\n`, /environment has 5001 characters, at most 4096/],
    ['orderBy: topic\n', /orderBy has no meaning with concurrency 1/],
  ]
  for (const [text, expected] of cases) t.match(problems(text).join('\n'), expected, text)
})

t.test('manifest.schema.json is the schema', async t => {
  const path = join(import.meta.dirname, '../../src/invoker/manifest.schema.json')
  t.same(JSON.parse(readFileSync(path, 'utf8')), JSON.parse(JSON.stringify(manifestSchema)))
})
