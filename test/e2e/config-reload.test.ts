/** A config change under load: a real daemon, clients that stay connected, SIGHUP, and what is in force after it. */

import { execFile } from 'node:child_process'
import { mkdir, mkdtempDisposable, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tls from 'node:tls'
import { promisify } from 'node:util'
import mqttjs, { type MqttClient } from 'mqtt'
import t from 'tap'
import { ApiClient } from '#cli/api-client.ts'
import { daemonOf } from '#cli/daemon-target.ts'
import type { CloudEndpoint } from '#cloud/cloud.ts'
import { command } from '../cli/command.ts'
import { cloudAt, type Loose, range, recordsOf, until } from '../fakes/uplink-rig.ts'
import { need } from '../harness/need.ts'
import { mainFile } from '../harness/processes.ts'
import { ConsoleProcess } from './console-process.ts'

const run = promisify(execFile)

const echo = (to: string) => `
import { publish } from 'fescue'
export async function handler(event, context) {
  console.log('saw ' + event.n)
  publish('${to}', event, { qos: 1 })
}
`

class Device implements AsyncDisposable {
  readonly folder: string
  readonly daemon: ConsoleProcess
  readonly api: ApiClient
  readonly #release: () => Promise<void>

  private constructor(folder: string, release: () => Promise<void>) {
    this.folder = folder
    this.#release = release
    const args = ['start', '--config', this.configFile, '--data', join(folder, 'data')]
    this.daemon = new ConsoleProcess(process.execPath, [mainFile, ...args], { cwd: folder })
    this.api = new ApiClient(daemonOf(join(folder, 'data')))
  }

  static async start(config: string): Promise<Device> {
    const folder = await mkdtempDisposable(join(tmpdir(), 'fescue-reload-'))
    for (const [functions, to] of [
      ['one', 'from/one'],
      ['two', 'from/two'],
    ] as const) {
      const own = join(folder.path, functions, `echo-${functions}`)
      await mkdir(own, { recursive: true })
      await writeFile(
        join(own, 'function.yaml'),
        'triggers:\n  - topic: in/+\npermissions:\n  publish: [from/+]\n',
      )
      await writeFile(join(own, 'index.js'), echo(to))
    }
    await writeFile(join(folder.path, 'fescue.yaml'), config)
    const device = new Device(folder.path, () => folder[Symbol.asyncDispose]())
    await device.daemon.line(/"msg":"ready"/)
    return device
  }

  get configFile(): string {
    return join(this.folder, 'fescue.yaml')
  }

  get port(): number {
    const ready = this.daemon.lines.find(line => line.includes('"msg":"ready"')) ?? '{}'
    return JSON.parse(ready).mqtt
  }

  /** Writes the file, sends SIGHUP and waits for the line that says what came of it. */
  async change(config: string, outcome: RegExp): Promise<void> {
    const { mark } = this.daemon
    await writeFile(this.configFile, config)
    this.daemon.child.kill('SIGHUP')
    await this.daemon.line(outcome, mark)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.daemon.child.kill('SIGTERM')
    await this.daemon.exited
    await this.daemon[Symbol.asyncDispose]()
    await this.#release()
  }
}

/** A client that never reconnects, with what it got and how often it lost its connection. */
async function connect(
  port: number,
  options: { clean: boolean; clientId: string; username?: string; password?: string },
) {
  const client = mqttjs.connect({ port, host: '127.0.0.1', reconnectPeriod: 0, ...options })
  const got: { topic: string; n: number }[] = []
  const ends: unknown[] = []
  client.on('message', (topic, payload) => got.push({ topic, n: JSON.parse(payload.toString()).n }))
  client.on('close', () => ends.push('close'))
  await new Promise(resolve => client.once('connect', resolve))
  return { client, got, ends }
}

async function publish(client: MqttClient, from: number, to: number): Promise<void> {
  for (let n = from; n < to; n++) await client.publishAsync(`in/${n % 3}`, JSON.stringify({ n }), { qos: 1 })
}

const numbersOf = (records: readonly Loose[], log: string) =>
  records
    .filter(({ id }) => new RegExp(`/outbox\\.${log}\\.5\\.\\d+/`).test(id))
    .map(({ data }) => Number(data.n))

const arrived = async (cloud: CloudEndpoint, log: string) => numbersOf(await recordsOf(cloud, 'd'), log)

const eventsOf = (cloud: CloudEndpoint) => new URL('/v1/events', cloud.url).href

function configOf(options: {
  /** URL by name. */
  readonly uplinks: Readonly<Record<string, string>>
  readonly routes: string
  readonly functions?: string
  readonly more?: string
}): string {
  const { uplinks, routes, functions = 'one', more = '' } = options
  return `
device: d
functions: ${functions}
mqtt: { port: 0 }
http: { port: 0 }
uplinks: ${JSON.stringify(Object.fromEntries(Object.entries(uplinks).map(([name, url]) => [name, { url }])))}
routes:
${routes}
${more}`
}

t.test('SIGHUP under load: nobody is cut off, nothing is lost, and the change is in force', async t => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'fescue-cloud-'))
  await using cloud = await cloudAt(join(folder.path, 'first'))
  await using other = await cloudAt(join(folder.path, 'second'))
  const urls = { cloud: eventsOf(cloud), other: eventsOf(other) }
  const kept = '  - { name: kept, filter: in/#, to: cloud }\n'
  const before = configOf({
    uplinks: { cloud: urls.cloud },
    routes: `${kept}  - { name: gone, filter: in/#, to: cloud }\n`,
  })
  await using device = await Device.start(before)
  const clean = await connect(device.port, { clean: true, clientId: 'clean' })
  const persistent = await connect(device.port, { clean: false, clientId: 'persistent' })
  const publisher = await connect(device.port, { clean: true, clientId: 'publisher' })
  await clean.client.subscribeAsync('#', { qos: 1 })
  await persistent.client.subscribeAsync('in/+', { qos: 1 })

  await publish(publisher.client, 0, 50)
  const stream = publish(publisher.client, 50, 200)
  await device.change(
    configOf({
      uplinks: urls,
      routes: `${kept}  - { name: new, filter: in/#, to: cloud }\n  - { name: elsewhere, filter: in/#, to: other }\n`,
      functions: 'two',
      more: 'limits: { inbox: 8MiB, session: 1MiB, outbox: 64MiB }\nlog: { level: debug }\ndurability: [{ filter: in/#, class: process }]\n',
    }),
    /the configuration changed: functions, uplinks, routes, durability, limits\.inbox, limits\.session, limits\.outbox, log\.level/,
  )
  await stream
  await publish(publisher.client, 200, 250)

  const all = range(0, 250)
  const inOrder = (got: readonly { topic: string; n: number }[]) =>
    got.filter(({ topic }) => topic.startsWith('in/')).map(({ n }) => n)
  await until(() => inOrder(clean.got).length >= 250 && inOrder(persistent.got).length >= 250)
  t.same(inOrder(clean.got), all, 'the clean session got all, in order, once')
  t.same(inOrder(persistent.got), all, 'and so did the persistent one')
  t.same([...clean.ends, ...persistent.ends, ...publisher.ends], [], 'no connection was closed')

  await until(async () => (await arrived(cloud, 'kept')).at(-1) === 249)
  t.same(await arrived(cloud, 'kept'), all, 'a route that stays misses nothing and doubles nothing')
  await until(async () => (await arrived(cloud, 'new')).at(-1) === 249)
  const fresh = await arrived(cloud, 'new')
  t.same(fresh, range(fresh[0] ?? 0, 250), 'a new route has all from its first')
  t.ok((fresh[0] ?? 0) >= 50)
  await until(async () => (await arrived(other, 'elsewhere')).at(-1) === 249)
  t.same(await arrived(other, 'elsewhere'), fresh, 'the new uplink got the same')
  await until(async () => (await arrived(cloud, 'gone')).length === fresh[0])
  t.same(
    await arrived(cloud, 'gone'),
    range(0, fresh[0] ?? 0),
    'the old route has all until then, and has left',
  )

  await until(() => clean.got.some(({ topic, n }) => topic === 'from/two' && n === 249))
  const functions = await device.api.call<Loose[]>('/api/v1/functions')
  t.same(
    functions.map(({ name, state }) => [name, state]),
    [
      ['echo-one', 'detached'],
      ['echo-two', 'ready'],
    ],
  )
  const { traffic } = await device.api.call<Loose>('/api/v1/status')
  t.ok(traffic.byClass.process >= 50, 'the new durability class counts')
  const { logs } = await device.api.call<Loose>('/api/v1/buffer')
  const limitOf = (name: RegExp) => logs.find(({ log }: Loose) => name.test(log)).maxBytes
  t.equal(limitOf(/^inbox\.echo-two/), 8 * 2 ** 20)
  t.equal(limitOf(/^session\./), 2 ** 20)
  t.equal(limitOf(/^outbox\.new/), Math.floor((64 * 2 ** 20) / 3))
  const values = await device.api.call<Loose[]>('/api/v1/config')
  const row = values.find(({ key }) => key === 'log.level')
  t.match(row, { value: 'debug', origin: { kind: 'file', where: /fescue\.yaml:\d+:\d+$/ } })
  for (const { client } of [clean, persistent, publisher]) await client.endAsync()
})

/** A command beside the daemon, in this process, which is quicker. */
async function fescue(...args: string[]): Promise<{ code: number; text: string }> {
  const { code, stdout, stderr } = await command(args, { cwd: tmpdir() })
  return { code, text: `${stdout}${stderr}`.trim() }
}

t.test(
  'a change that is wrong, or needs a restart, is refused whole, and what was stays in force',
  async t => {
    const plain = configOf({ uplinks: {}, routes: '  []' })
    await using device = await Device.start(plain)
    const { client, ends } = await connect(device.port, { clean: true, clientId: 'one' })
    const data = join(device.folder, 'data')
    const inForce = async (key: string) =>
      (await device.api.call<Loose[]>('/api/v1/config')).find(row => row.key === key)?.value

    await device.change(
      `${plain}\nlog: { level: debug }\nmqqt: {}\n`,
      /fescue\.yaml:\d+:1: unknown key mqqt: did you mean mqtt\?/,
    )
    t.equal(await inForce('log.level'), 'info', 'not even the part that was right')
    const wrong = await fescue('config', 'reload', '--data', data)
    t.equal(wrong.code, 5)
    t.match(wrong.text, /> \d+ \| mqqt: \{\}[\s\S]*the one before stays in force/)

    const other = plain.replace('mqtt: { port: 0 }', 'mqtt: { port: 1 }')
    await device.change(
      `${other}\nlog: { level: debug }\n`,
      /nothing was applied: mqtt\.port can change with a restart only/,
    )
    t.equal(await inForce('log.level'), 'info', 'all of it or nothing')
    const held = await fescue('config', 'reload', '--json', '--data', data)
    t.equal(held.code, 1)
    t.match(held.text, /"outcome":"restart"[\s\S]*FESCUE_RESTART_NEEDED/)

    await device.change(
      `${plain}\ntls: { cert: fescue.yaml, key: fescue.yaml }\n`,
      /nothing was applied: tls\.cert, tls\.key/,
    )
    await device.change(`${plain}\nlog: { level: debug }\n`, /the configuration changed: log\.level/)
    t.equal(await inForce('log.level'), 'debug')
    const unchanged = await fescue('config', 'reload', '--data', data)
    t.match(unchanged, { code: 0, text: /Nothing has changed/ })
    await client.publishAsync('a', 'still here', { qos: 1 })
    t.same(ends, [])
    await client.endAsync()
  },
)

t.test('users: one that is gone or has another password is cut off, the others stay', async t => {
  const users = (...names: [string, string][]) =>
    configOf({
      uplinks: {},
      routes: '  []',
      more: `users: ${JSON.stringify(names.map(([name, password]) => ({ name, password })))}`,
    })
  await using device = await Device.start(users(['ann', 'a'], ['bob', 'b'], ['cid', 'c']))
  const as = (username: string, password: string) =>
    connect(device.port, { clean: true, clientId: username, username, password })
  const [ann, bob, cid] = [await as('ann', 'a'), await as('bob', 'b'), await as('cid', 'c')]
  const cut = Promise.all(
    [bob, cid].map(({ client }) => new Promise<void>(resolve => client.once('close', () => resolve()))),
  )
  await device.change(users(['ann', 'a'], ['bob', 'new'], ['dan', 'd']), /the configuration changed: users/)
  await cut
  await ann.client.publishAsync('a', 'still here', { qos: 1 })
  t.same(ann.ends, [])
  const [again, fresh] = [await as('bob', 'new'), await as('dan', 'd')]
  await t.rejects(
    mqttjs.connectAsync({ port: device.port, username: 'cid', password: 'c', reconnectPeriod: 0 }),
  )
  for (const { client } of [ann, again, fresh]) await client.endAsync()
})

t.test(
  'a renewed certificate counts for new connections; those that stand, stand',
  { skip: need('openssl') },
  async t => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'fescue-certs-'))
    const [key, cert] = [join(folder.path, 'key.pem'), join(folder.path, 'cert.pem')]
    const issue = (name: string) =>
      run('openssl', [
        ...[
          'req',
          '-x509',
          '-newkey',
          'ec',
          '-pkeyopt',
          'ec_paramgen_curve:prime256v1',
          '-nodes',
          '-days',
          '2',
        ],
        ...['-keyout', key, '-out', cert, '-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1'],
      ])
    await issue('first')
    const config = configOf({ uplinks: {}, routes: '  []', more: `tls: { cert: "${cert}", key: "${key}" }` })
    await using device = await Device.start(config)
    const secure = async () => {
      const socket = tls.connect({ port: device.port, host: '127.0.0.1', rejectUnauthorized: false })
      await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject))
      const { CN } = socket.getPeerCertificate().subject
      socket.destroy()
      return CN
    }
    const client = mqttjs.connect({
      port: device.port,
      protocol: 'mqtts',
      rejectUnauthorized: false,
      reconnectPeriod: 0,
    })
    const ends: string[] = []
    client.on('close', () => ends.push('close'))
    await new Promise(resolve => client.once('connect', resolve))
    t.equal(await secure(), 'first')
    await issue('second')
    await device.change(config, /the configuration was read again: nothing changed/)
    t.equal(await secure(), 'second')
    await writeFile(key, 'no key')
    await device.change(config, /FESCUE_CONFIG_INVALID.*are no certificate with its key/)
    t.equal(await secure(), 'second', 'a broken one is refused')
    await client.publishAsync('a', 'still here', { qos: 1 })
    t.same(ends, [])
    await client.endAsync()
  },
)

t.test(
  'logs: daemon and functions, by function and level, with the invocation, and as they come',
  async t => {
    await using device = await Device.start(configOf({ uplinks: {}, routes: '  []' }))
    const data = join(device.folder, 'data')
    const { client } = await connect(device.port, { clean: true, clientId: 'one' })
    await using following = new ConsoleProcess(process.execPath, [
      mainFile,
      ...['logs', '-f', '--function', 'echo-one', '--data', data],
    ])
    await following.line(/function switched/)
    await client.publishAsync('in/0', '{"n":42}', { qos: 1 })
    const line = await following.line(/^\S+ {2}INFO {3}echo-one {2}saw 42 {2}\[([0-9a-f-]{36})\]$/)
    const invocationId = line[1]
    const asJson = await fescue('logs', '--json', '--function', 'echo-one', '--data', data)
    const entries: Loose[] = asJson.text.split('\n').map(text => JSON.parse(text))
    t.match(entries.at(-1), { level: 'info', function: 'echo-one', invocationId, message: 'saw 42' })
    const warnings = await fescue('logs', '--level', 'error', '--data', data)
    t.match(warnings, { code: 0, text: 'There are no such lines.' })
    t.match((await fescue('logs', '--data', data)).text, /broker {2}sessions loaded/)
    await client.endAsync()
  },
)
