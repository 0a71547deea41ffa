/** `fescue config`: show, validate, explain, reload; with and without a daemon. */
import { mkdtempDisposable, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { ConfigValue, ReloadOutcome } from '#api/backend.ts'
import { FakeApi, json } from '../fakes/api-server.ts'
import { command } from './command.ts'

const temporary = () => mkdtempDisposable(join(tmpdir(), 'fescue-config-'))

t.test('show without a daemon: file, variable, default, each with its place; no secret', async t => {
  await using folder = await temporary()
  const file = join(folder.path, 'fescue.yaml')
  await writeFile(
    file,
    'mqtt:\n  port: 1900\nuplink: { url: "http://x", token: hush }\nroutes: [{ filter: a/# }]\n',
  )
  const input = { cwd: folder.path, env: { FESCUE_LOG_LEVEL: 'warn' } }
  const { code, stdout, stderr } = await command(['config', 'show', '-c', file], input)
  t.equal(code, 0)
  t.match(stderr, /No daemon answers/)
  t.match(stdout, `mqtt.port\t1900\t${file}:2:3\n`)
  t.match(stdout, 'log.level\twarn\tFESCUE_LOG_LEVEL\n')
  t.match(stdout, 'limits.inbox\t64MiB\tdefault\n')
  t.match(stdout, `routes[0].filter\ta/#\t${file}:4:12\n`)
  t.match(stdout, `uplink.token\t(secret)\t${file}:3:28\n`)
  t.notMatch(stdout, 'hush')
  const asJson = await command(['config', 'show', '--offline', '--json', '-c', file], input)
  t.equal(asJson.stderr, '', 'asked for, so nothing to say')
  const values: ConfigValue[] = JSON.parse(asJson.stdout)
  t.same(
    values.find(({ key }) => key === 'mqtt.port'),
    { key: 'mqtt.port', value: 1900, origin: { kind: 'file', where: `${file}:2:3` } },
  )
  t.notMatch(asJson.stdout, 'hush')
})

t.test('show with a daemon: what is in force there, not what the file says now', async t => {
  await using folder = await temporary()
  const values = [{ key: 'mqtt.port', value: 1883, origin: { kind: 'flag', where: '--mqtt-port' } }]
  await using _api = await FakeApi.start({ 'GET /api/v1/config': json(values) }, folder.path)
  const input = { env: { FESCUE_DATA: folder.path } }
  const shown = await command(['config', 'show'], input)
  t.equal(shown.stdout, 'key\tvalue\tfrom\nmqtt.port\t1883\t--mqtt-port\n')
  t.same(JSON.parse((await command(['config', 'show', '--json'], input)).stdout), values)
  t.match((await command(['config', 'show', '--offline'], input)).stdout, 'mqtt.port\t1883\tdefault')
  t.equal(
    (await command(['config', 'show', '--url', 'http://127.0.0.1:1'])).code,
    3,
    'a named daemon must be there',
  )
})

t.test(
  'validate: 0 and silence on stdout, or 5 with each problem, its place and the lines around',
  async t => {
    await using folder = await temporary()
    const file = join(folder.path, 'fescue.yaml')
    await writeFile(file, 'mqtt:\n  port: 1883\n')
    const good = await command(['config', 'validate', file])
    t.match(good, { code: 0, stdout: '', stderr: `${file} is valid.\n` })
    await writeFile(file, 'mqtt:\n  port: 99999\nlog: { level: inform }\nuplnk: {}\n')
    const bad = await command(['config', 'validate', file])
    t.equal(bad.code, 5)
    t.match(
      bad.stderr,
      `${file}:2:9: mqtt.port must be 0 to 65535, not 99999\n  1 | mqtt:\n> 2 |   port: 99999\n    |         ^`,
    )
    t.match(
      bad.stderr,
      `${file}:3:15: log.level must be one of debug, info, warn, error, not "inform": did you mean info?`,
    )
    t.match(bad.stderr, 'unknown key uplnk: did you mean uplink?')
    t.match(bad.stderr, '3 problems [FESCUE_CONFIG_INVALID]')
    const asJson = await command(['config', 'validate', file, '--json'])
    t.equal(asJson.code, 5)
    t.match(JSON.parse(asJson.stdout), { valid: false, file, problems: { length: 3 } })
    t.match(JSON.parse(asJson.stdout).problems, [{}, {}, {}])
    const variable = await command(['config', 'validate'], { cwd: folder.path, env: { FESCUE_LOGS: 'x' } })
    t.match(variable, { code: 5, stderr: /^FESCUE_LOGS: unknown variable FESCUE_LOGS/ })
    t.equal((await command(['config', 'validate', join(folder.path, 'absent.yaml')])).code, 5)
    const links = { FESCUE_PORT: 'tcp://10.0.0.1:1883' }
    const linked = await command(['config', 'validate', '--json'], { cwd: folder.path, env: links })
    t.match(JSON.parse(linked.stdout), { valid: true, warnings: [/FESCUE_PORT/] })
  },
)

t.test('explain: one key, all below a key, all keys; the nearest to a mistyped one', async t => {
  const one = await command(['config', 'explain', 'mqtt.port'])
  t.equal(one.code, 0)
  t.match(one.stdout, /^mqtt\.port\n {2}TCP port; 0 picks a free one\.\n/)
  t.match(
    one.stdout,
    /type +whole number\n +default +1883\n +variable +FESCUE_MQTT_PORT\n +a change +needs a restart\n$/,
  )
  t.match((await command(['config', 'explain', 'limits'])).stdout, /limits\.inbox[\s\S]*limits\.willGrace/)
  t.match((await command(['config', 'explain', 'routes[0].priority'])).stdout, /9 leaves first/)
  const all = (await command(['config', 'explain'])).stdout
  t.match(all, /^key\ttype\tdefault\ta change\tmeaning\ndevice\t/)
  t.match(all, 'limits.session\tsize\t16MiB\tapplies at a reload\t')
  t.match(await command(['config', 'explain', 'mqtt.prt']), { code: 4, stderr: /did you mean mqtt\.port\?/ })
  t.match(JSON.parse((await command(['config', 'explain', 'log.level', '--json'])).stdout), [
    { key: 'log.level', default: 'info', allowed: ['debug', 'info', 'warn', 'error'] },
  ])
})

t.test('reload: what was applied, what needs a restart, what is wrong', async t => {
  await using folder = await temporary()
  const file = join(folder.path, 'fescue.yaml')
  await writeFile(file, 'mqqt: {}\n')
  let answer: { status: number; body: object } = { status: 200, body: {} }
  await using _api = await FakeApi.start(
    {
      'POST /api/v1/config/reload': (request, response) =>
        json(answer.body, answer.status)(request, response),
    },
    folder.path,
  )
  const run = (...more: string[]) => command(['config', 'reload', '--data', folder.path, ...more])
  const applied: ReloadOutcome = {
    outcome: 'applied',
    changes: [
      { key: 'routes', effect: 'live', where: 'fescue.yaml:3:1', detail: 'added alarms' },
      { key: 'limits.willGrace', effect: 'next-start', where: '' },
    ],
  }
  answer = { status: 200, body: applied }
  t.match(await run(), {
    code: 0,
    stdout: '',
    stderr:
      'Applied:\n  routes (added alarms), fescue.yaml:3:1\n  limits.willGrace, counts at the next start, now the default\n',
  })
  t.same(JSON.parse((await run('--json')).stdout), applied)
  answer = { status: 200, body: { outcome: 'unchanged', changes: [] } }
  t.match(await run(), { code: 0, stderr: 'Nothing has changed.\n' })
  const restart = { key: 'mqtt.port', effect: 'restart', where: 'f:1:1' }
  const held = { code: 'FESCUE_RESTART_NEEDED', detail: 'mqtt.port can change with a restart only' }
  answer = { status: 409, body: { ...held, outcome: 'restart', changes: [restart] } }
  t.match(await run(), { code: 1, stderr: /^Nothing was applied:\n {2}mqtt\.port needs a restart, f:1:1\n/ })
  const detail = `${file}:1:1: unknown key mqqt: did you mean mqtt?`
  answer = { status: 400, body: { code: 'FESCUE_CONFIG_INVALID', detail } }
  const wrong = await run()
  t.equal(wrong.code, 5)
  t.match(wrong.stderr, `${detail}\n> 1 | mqqt: {}\n    | ^`)
  t.match(wrong.stderr, /the one before stays in force/)
})
