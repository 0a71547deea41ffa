/** The device config: precedence of file, environment and flags, and what every kind of mistake is told. */
import { mkdtempDisposable, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { FescueError } from '#base/errors.ts'
import { settablePaths, variableName } from '#config/layers.ts'
import { type LoadedConfig, loadConfig } from '#config/load-config.ts'
import { deviceNameOf } from '#config/resolve-config.ts'

type Environment = Record<string, string>
type Flags = Record<string, string | number>

async function load(
  text: string | undefined,
  environment: Environment = {},
  flags: Flags = {},
): Promise<LoadedConfig> {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'fescue-config-'))
  const file = text === undefined ? undefined : join(folder.path, 'fescue.yaml')
  if (file !== undefined) await writeFile(file, text ?? '')
  return await loadConfig({ file, environment, flags, cwd: '/srv' })
}

/** Lines of the refusal, without the folder of the file. */
async function refusal(
  text: string | undefined,
  environment: Environment = {},
  flags: Flags = {},
): Promise<string[]> {
  try {
    await load(text, environment, flags)
  } catch (error) {
    if (error instanceof FescueError && error.code === 'FESCUE_CONFIG_INVALID')
      return error.message.split('\n').map(line => line.replace(/^.*\/(?=fescue\.yaml)/, ''))
    throw error
  }
  return []
}

t.test('an empty config is the defaults, in normal units', async t => {
  const { config } = await load(undefined)
  t.match(config, {
    device: deviceNameOf(hostname()),
    data: '/srv/data',
    functions: '/srv/functions',
    mqtt: { host: '127.0.0.1', port: 1883, maxPacketBytes: 1024 * 1024, tls: undefined },
    http: { host: '127.0.0.1', port: 8484, hosts: [] },
    uplinks: [],
    routes: [],
    durability: [],
    limits: {
      inboxMaxBytes: 64 * 2 ** 20,
      sessionMaxBytes: 16 * 2 ** 20,
      sessionExpiryMs: 7 * 86_400_000,
      outbox: { diskShare: 0.25 },
      deadLettersMaxBytes: 64 * 2 ** 20,
      freeDiskMinBytes: 256 * 2 ** 20,
      blockMs: 10_000,
      willGraceMs: 30_000,
    },
    log: { level: 'info' },
    users: [],
  })
  t.strictSame((await load('')).config.limits, config.limits, 'an empty file is the same')
})

t.test('the config is frozen to its depths', async t => {
  const { config } = await load('uplink: {url: "https://cloud.example.com"}\nroutes: [{filter: a/#}]')
  for (const part of [
    config,
    config.mqtt,
    config.routes,
    config.routes[0],
    config.uplinks[0]?.tls,
    config.limits.outbox,
  ])
    t.ok(Object.isFrozen(part))
})

t.test('flags override the environment, which overrides the file', async t => {
  const file = 'mqtt: {port: 1001}\nhttp: {port: 1002}\nlimits: {blockMs: 1s}\n'
  const { config, originOf } = await load(
    file,
    { FESCUE_HTTP_PORT: '2002', FESCUE_LIMITS_BLOCK_MS: '2s', PATH: '/bin', OTHER: 'x' },
    { 'limits.blockMs': '3s', data: 'kept' },
  )
  t.equal(config.mqtt.port, 1001)
  t.equal(config.http.port, 2002)
  t.equal(config.limits.blockMs, 3_000)
  t.equal(config.data, '/srv/kept')
  t.match(originOf(['mqtt', 'port']), { kind: 'file', where: /fescue\.yaml:1:8$/ })
  t.same(originOf(['http', 'port']), { kind: 'environment', where: 'FESCUE_HTTP_PORT' })
  t.same(originOf(['limits', 'blockMs']), { kind: 'flag', where: '--limits-block-ms' })
  t.same(originOf(['log', 'level']), { kind: 'default', where: '' })
})

t.test('JSON is read as well as YAML, with places', async t => {
  const { config } = await load('{"device": "pi-1", "mqtt": {"port": 7}}')
  t.equal(config.device, 'pi-1')
  t.equal(config.mqtt.port, 7)
  t.same(await refusal('{\n  "mqtt": {"port": "x"}\n}'), [
    'fescue.yaml:2:20: mqtt.port must be a whole number, not "x"',
  ])
})

t.test('the short form of one uplink is uplinks.default', async t => {
  const { config } = await load(
    'uplink: {url: "https://a.example.com", token: secret}\nuplinks: {b: {url: "http://b.example.com"}}\nroutes:\n  - {filter: alarms/#}\n  - {filter: logs/#, to: b, priority: 1, ttl: 1h, maxBytes: 1MiB, overflow: keep-latest}',
  )
  t.same(
    config.uplinks.map(({ name, url, token }) => ({ name, url, token })),
    [
      { name: 'default', url: 'https://a.example.com', token: 'secret' },
      { name: 'b', url: 'http://b.example.com', token: undefined },
    ],
  )
  t.match(config.routes, [
    { name: 'alarms.all', to: 'default', priority: 5, ttlMs: undefined, overflow: 'drop-oldest' },
    {
      name: 'b.logs.all',
      to: 'b',
      priority: 1,
      ttlMs: 3_600_000,
      maxBytes: 2 ** 20,
      overflow: 'keep-latest',
    },
  ])
})

t.test('files that the config names are read at start; relative ones start at its folder', async t => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'fescue-config-'))
  const file = join(folder.path, 'fescue.yaml')
  await writeFile(join(folder.path, 'token'), 'from-file\n')
  await writeFile(join(folder.path, 'password'), 'p w\n')
  await writeFile(join(folder.path, 'ca.pem'), 'PEM')
  await writeFile(
    file,
    'data: kept\nuplink: {url: "https://a.example.com", tokenFile: token, tls: {ca: ca.pem}}\nusers: [{name: gate, passwordFile: password}]\ntls: {cert: ca.pem, key: ca.pem}',
  )
  const { config } = await loadConfig({ file, environment: {}, cwd: '/srv' })
  t.equal(config.data, join(folder.path, 'kept'))
  t.equal(config.functions, '/srv/functions', 'a default starts at the working folder')
  t.equal(config.uplinks[0]?.token, 'from-file')
  t.equal(config.uplinks[0]?.tls.ca, 'PEM')
  t.same(config.users, [{ name: 'gate', password: 'p w' }])
  t.same(config.tls, { certFile: join(folder.path, 'ca.pem'), keyFile: join(folder.path, 'ca.pem') })
  await writeFile(file, 'uplink: {url: "https://a.example.com", tokenFile: nope}')
  await t.rejects(loadConfig({ file, environment: {}, cwd: '/srv' }), {
    code: 'FESCUE_CONFIG_INVALID',
    message: /fescue\.yaml:1:51: uplink\.tokenFile cannot be read: ENOENT/,
  })
})

t.test('a missing file is named', async t => {
  await t.rejects(loadConfig({ file: '/nowhere/fescue.yaml', environment: {}, cwd: '/srv' }), {
    code: 'FESCUE_CONFIG_UNREADABLE',
    message: /\/nowhere\/fescue\.yaml/,
  })
})

t.test('all problems are reported at once, each with place, path and mend', async t => {
  const file = `mqtt:
  prot: 1884
  port: 99999
port: 1
limits:
  inbox: lots
routes:
  - filter: a/#
    overflow: drop-latest
  - to: default
`
  t.same(await refusal(file, { FESCUE_HTTP_PROT: '1', FESCUE_LOG_LEVEL: 'inform' }), [
    'FESCUE_HTTP_PROT: unknown variable FESCUE_HTTP_PROT: did you mean FESCUE_HTTP_PORT?',
    'fescue.yaml:4:1: unknown key port: did you mean mqtt.port or http.port?',
    'fescue.yaml:2:3: unknown key mqtt.prot: did you mean mqtt.port?',
    'fescue.yaml:3:9: mqtt.port must be 0 to 65535, not 99999',
    'fescue.yaml:9:15: routes[0].overflow must be one of block, drop-oldest, drop-newest, keep-latest, not "drop-latest": did you mean drop-oldest?',
    'fescue.yaml:10:5: routes[1] needs the key "filter"',
    'fescue.yaml:6:10: limits.inbox must look like 64MiB or 1GiB, not "lots"',
    'FESCUE_LOG_LEVEL: log.level must be one of debug, info, warn, error, not "inform": did you mean info?',
  ])
})

t.test('what a schema cannot say is checked too', async t => {
  const cases: [string, string][] = [
    [
      'routes: [{filter: a/#/b}]\nuplink: {url: "http://x"}',
      'fescue.yaml:1:19: routes[0].filter "a/#/b" "#" stands only alone in the last level [MQTT-4.7.1-2]',
    ],
    [
      'routes: [{filter: a}]',
      'fescue.yaml:1:10: routes[0].to names the uplink "default", but there is none: add the key uplink',
    ],
    [
      'routes: [{filter: a, to: clod}]\nuplinks: {cloud: {url: "http://x"}}',
      'fescue.yaml:1:26: routes[0].to names no uplink "clod": did you mean cloud?',
    ],
    [
      'uplink: {url: "http://x"}\nroutes: [{filter: a}, {filter: a}]',
      'fescue.yaml:2:23: routes[1] has the same name as routes[0], "a": give one of them another name',
    ],
    [
      'uplink: {url: "http://x"}\nuplinks: {default: {url: "http://x"}}',
      'fescue.yaml:1:9: uplink is short for uplinks.default, which is there too: remove one of them',
    ],
    [
      'uplink: {url: "http://x", token: a, tokenFile: b}',
      'fescue.yaml:1:34: uplink.token and tokenFile exclude each other: remove one of them',
    ],
    [
      'uplink: {url: "https://x", tls: {cert: a}}',
      'fescue.yaml:1:33: uplink.tls needs cert and key together',
    ],
    [
      'uplink: {url: "http://x", tls: {ca: a}}',
      'fescue.yaml:1:32: uplink.tls has no effect on an http:// url: use https://',
    ],
    [
      'mqtt: {port: 5}\nhttp: {port: 5}',
      'fescue.yaml:2:14: http.port 5 is the port of mqtt too: choose another',
    ],
    [
      'durability: [{filter: a+, class: power}]',
      'fescue.yaml:1:23: durability[0].filter "a+" "+" stands only alone in its level [MQTT-4.7.1-3]',
    ],
    [
      'limits: {ledger: "99999999999999999999"}',
      'fescue.yaml:1:18: limits.ledger is too large: 99999999999999999999',
    ],
    [
      'users: [{name: a, passwordFile: f}, {name: a, passwordFile: f}]',
      'fescue.yaml:1:44: users[1].name "a" is there twice',
    ],
    ['users: [{name: b}]', 'fescue.yaml:1:9: users[0] needs password or passwordFile, one of them'],
  ]
  for (const [text, expected] of cases) t.same(await refusal(text), [expected], text)
})

t.test('syntax errors have a place', async t => {
  const [line] = await refusal('mqtt:\n  port: [1\nhttp: {}\n')
  t.match(line, /^fescue\.yaml:3:1: /)
  t.match(await refusal('mqtt: {}\nmqtt: {}\n'), [/^fescue\.yaml:2:1: Map keys must be unique/])
})

t.test('a secret of the wrong type is not shown', async t => {
  t.same(await refusal('uplink: {url: "http://x", token: 12345}'), [
    'fescue.yaml:1:34: uplink.token must be text',
  ])
})

t.test('lists and maps come from the environment as YAML', async t => {
  const { config } = await load(undefined, {
    FESCUE_UPLINKS: '{cloud: {url: "http://x"}}',
    FESCUE_ROUTES: '[{filter: alarms/#, to: cloud}]',
  })
  t.equal(config.routes[0]?.to, 'cloud')
  t.same(await refusal(undefined, { FESCUE_ROUTES: '[{filter: a/#/b}]', FESCUE_UPLINK_URL: 'http://x' }), [
    'FESCUE_ROUTES: routes[0].filter "a/#/b" "#" stands only alone in the last level [MQTT-4.7.1-2]',
  ])
  t.match(await refusal(undefined, { FESCUE_ROUTES: '[{' }), [/^FESCUE_ROUTES: FESCUE_ROUTES: /])
})

t.test('every key can be set by a variable of its own', async t => {
  const names = settablePaths().map(variableName)
  t.equal(new Set(names).size, names.length)
  t.ok(names.includes('FESCUE_MQTT_MAX_PACKET_BYTES'))
})

t.test(
  'variables of an orchestrator are passed over with a warning; a mistyped key is an error all the same',
  async t => {
    const links = {
      FESCUE_SERVICE_HOST: '10.0.0.7',
      FESCUE_SERVICE_PORT: '1883',
      FESCUE_SERVICE_PORT_MQTT: '1883',
      FESCUE_PORT: 'tcp://10.0.0.7:1883',
      FESCUE_PORT_1883_TCP: 'tcp://10.0.0.7:1883',
      FESCUE_PORT_1883_TCP_ADDR: '10.0.0.7',
      FESCUE_PORT_1883_TCP_PROTO: 'tcp',
      FESCUE_MQTT_SERVICE_HOST: '10.0.0.8',
      FESCUE_MQTT_PORT: 'tcp://10.0.0.8:1883',
    }
    const { config, warnings } = await loadConfig({ file: undefined, environment: links, cwd: '/' })
    t.equal(config.mqtt.port, 1883, 'the default: a link is no value')
    t.equal(warnings.length, 1)
    for (const name of Object.keys(links)) t.match(warnings[0], name)
    t.same((await loadConfig({ file: undefined, environment: {}, cwd: '/' })).warnings, [])
    for (const [name, value] of [
      ['FESCUE_PORT', '1883'],
      ['FESCUE_MQQT_PORT', '1883'],
      ['FESCUE_SERVICE_HOSTS', 'x'],
    ] as const)
      t.match(await refusal(undefined, { [name]: value }), [new RegExp(`^${name}: unknown variable ${name}`)])
  },
)
