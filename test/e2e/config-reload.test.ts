/** A config change under load: a real daemon, clients that stay connected, SIGHUP, and what is in force after it. */
import { mkdir, mkdtempDisposable, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import mqttjs, { type MqttClient } from 'mqtt'
import t from 'tap'
import { ApiClient } from '#cli/api-client.ts'
import { daemonOf } from '#cli/daemon-target.ts'
import type { CloudEndpoint } from '#cloud/cloud.ts'
import { cloudAt, type Loose, range, recordsOf, until } from '../fakes/uplink-rig.ts'
import { mainFile } from '../harness/processes.ts'
import { ConsoleProcess } from './console-process.ts'

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
async function connect(port: number, options: { clean: boolean; clientId: string }) {
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

  await publish(publisher.client, 0, 100)
  const stream = publish(publisher.client, 100, 400)
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
  await publish(publisher.client, 400, 500)

  const all = range(0, 500)
  const inOrder = (got: readonly { topic: string; n: number }[]) =>
    got.filter(({ topic }) => topic.startsWith('in/')).map(({ n }) => n)
  await until(() => inOrder(clean.got).length >= 500 && inOrder(persistent.got).length >= 500)
  t.same(inOrder(clean.got), all, 'the clean session got all, in order, once')
  t.same(inOrder(persistent.got), all, 'and so did the persistent one')
  t.same([...clean.ends, ...persistent.ends, ...publisher.ends], [], 'no connection was closed')

  await until(async () => (await arrived(cloud, 'kept')).at(-1) === 499)
  t.same(await arrived(cloud, 'kept'), all, 'a route that stays misses nothing and doubles nothing')
  await until(async () => (await arrived(cloud, 'new')).at(-1) === 499)
  const fresh = await arrived(cloud, 'new')
  t.same(fresh, range(fresh[0] ?? 0, 500), 'a new route has all from its first')
  t.ok((fresh[0] ?? 0) >= 100)
  await until(async () => (await arrived(other, 'elsewhere')).at(-1) === 499)
  t.same(await arrived(other, 'elsewhere'), fresh, 'the new uplink got the same')
  await until(async () => (await arrived(cloud, 'gone')).length === fresh[0])
  t.same(
    await arrived(cloud, 'gone'),
    range(0, fresh[0] ?? 0),
    'the old route has all until then, and has left',
  )

  await until(() => clean.got.some(({ topic, n }) => topic === 'from/two' && n === 499))
  const functions = await device.api.call<Loose[]>('/api/v1/functions')
  t.same(
    functions.map(({ name, state }) => [name, state]),
    [
      ['echo-one', 'detached'],
      ['echo-two', 'ready'],
    ],
  )
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
