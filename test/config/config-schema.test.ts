/** The schema file for editors is the schema that the daemon checks with, and every key explains itself. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Ajv } from 'ajv'
import t from 'tap'
import type { SchemaNode } from '#base/schema.ts'
import { configSchema } from '#config/config-schema.ts'
import { effectiveConfig } from '#config/effective-config.ts'
import { loadConfig } from '#config/load-config.ts'

const root = join(import.meta.dirname, '../..')
const schemaFile = 'src/config/device-config.schema.json'

t.test('device-config.schema.json is the schema of the daemon', async t => {
  const text = await readFile(join(root, schemaFile), 'utf8')
  t.strictSame(
    JSON.parse(text),
    JSON.parse(JSON.stringify(configSchema)),
    `write configSchema to ${schemaFile}`,
  )
})

t.test('the schema is valid draft-07, and its defaults and examples pass their own checks', async t => {
  const ajv = new Ajv({ allowUnionTypes: true })
  t.ok(ajv.validateSchema(configSchema), ajv.errorsText())
  for (const { path, node } of nodesOf(configSchema)) {
    const validate = ajv.compile(node as object)
    for (const value of [node.default, ...(node.examples ?? [])])
      if (value !== undefined)
        t.ok(validate(value), `${path}: ${JSON.stringify(value)} ${ajv.errorsText(validate.errors)}`)
  }
})

t.test('every key has a description, and a default or words about its absence', async t => {
  const without = nodesOf(configSchema).filter(
    ({ node }) => node.description === undefined || node.description === '',
  )
  t.same(
    without.map(({ path }) => path),
    [],
  )
})

t.test('the config that comes with Fescue is valid', async t => {
  const { config } = await loadConfig({
    file: join(root, 'device-config/fescue.yaml'),
    environment: {},
    cwd: root,
  })
  t.ok(config.uplinks.length > 0)
})

t.test('config show: every value, where it came from; secrets stay hidden', async t => {
  const loaded = await loadConfig({
    file: undefined,
    environment: { FESCUE_MQTT_PORT: '1884', FESCUE_UPLINK_URL: 'http://x', FESCUE_UPLINK_TOKEN: 'hush' },
    flags: { uplinks: undefined },
    cwd: '/srv',
  })
  const keys = new Map(effectiveConfig(loaded).map(row => [row.key, row]))
  t.match(keys.get('mqtt.port'), { value: 1884, origin: { kind: 'environment', where: 'FESCUE_MQTT_PORT' } })
  t.match(keys.get('limits.inbox'), { value: '64MiB', origin: { kind: 'default' } })
  t.match(keys.get('limits.outbox'), { value: '25%', origin: { kind: 'default' } })
  t.match(keys.get('data'), { value: '/srv/data', origin: { kind: 'default' } })
  t.equal(keys.get('uplink.token')?.value, '(secret)')
  t.notMatch(JSON.stringify([...keys.values()]), 'hush')
  const named = await loadConfig({
    file: undefined,
    environment: { FESCUE_UPLINKS: '{a: {url: "http://x", token: hush}}' },
    cwd: '/srv',
  })
  t.notMatch(JSON.stringify(effectiveConfig(named)), 'hush', 'below free names too')
  const inUrl = await loadConfig({
    file: undefined,
    environment: { FESCUE_UPLINK_URL: 'https://me:hush@cloud.example.com/x' },
    cwd: '/srv',
  })
  const url = effectiveConfig(inUrl).find(({ key }) => key === 'uplink.url')
  t.equal(url?.value, 'https://(secret)@cloud.example.com/x')
})

interface Named {
  readonly path: string
  readonly node: SchemaNode
}

function nodesOf(node: SchemaNode, path = ''): Named[] {
  const below = Object.entries(node.properties ?? {}).flatMap(([key, child]) => {
    const full = path === '' ? key : `${path}.${key}`
    return [{ path: full, node: child }, ...nodesOf(child, full)]
  })
  const items = node.items === undefined ? [] : nodesOf(node.items, `${path}[]`)
  const others =
    typeof node.additionalProperties === 'object' ? nodesOf(node.additionalProperties, `${path}.NAME`) : []
  return [...below, ...items, ...others]
}
