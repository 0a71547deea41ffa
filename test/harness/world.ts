/**
 * A device and its cloud in a temporary folder: config, functions, and the processes that run them. What a
 * fault run kills is started again on the same data.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { executorsOf, type RunningProcess, startFescue } from './processes.ts'

export const device = 'harness'
export const topicsPerPublisher = 4

/** One state key per topic; one record of 50 throws, one of 500 loops, one of 50 fails at its first attempt only. */
const countFunction = `
import { publish, state } from 'fescue'
export async function handler(event, context) {
  if (event.n % 500 === 499) for (;;) {}
  if (event.n % 50 === 49) throw new Error('one of fifty')
  if (event.n % 50 === 24 && context.attempt === 1) throw new Error('only the first time')
  const count = ((await state.get(context.topic)) ?? 0) + 1
  await state.set(context.topic, count)
  publish('out/count/' + event.p + '/' + (event.n % ${topicsPerPublisher}), { p: event.p, n: event.n, count }, { qos: 1 })
}
`

/** Eight at once on one state key. */
const totalFunction = `
import { publish, state } from 'fescue'
export async function handler(event) {
  if (event.n % 500 === 499) for (;;) {}
  if (event.n % 50 === 49) throw new Error('one of fifty')
  const total = ((await state.get('total')) ?? 0) + 1
  await new Promise(resolve => setTimeout(resolve, 1))
  await state.set('total', total)
  publish('out/total/' + event.p + '/' + (event.n % ${topicsPerPublisher}), { p: event.p, n: event.n, total }, { qos: 1 })
}
`

const manifest = (extra = '') => `
triggers:
  - topic: in/+/+
permissions:
  publish: [out/#]
timeout: 250ms
retry: { attempts: 2, backoff: 10ms }
${extra}`

/** The functions that a fault run judges. */
export const countingFunctions = {
  count: { manifest: manifest(), source: countFunction },
  total: { manifest: manifest('concurrency: 8\norderBy: topic\n'), source: totalFunction },
} as const

export interface WorldOptions {
  /** Node arguments of the daemon, for a canary build. */
  readonly daemonNodeArgs?: readonly string[]
  readonly daemonEnvironment?: NodeJS.ProcessEnv
  /** Where the uplink goes, given the endpoint's port: a proxy in between, or the endpoint itself. */
  readonly uplinkPort?: (endpointPort: number) => Promise<number>
  /** The state document functions of other runs may be added here. */
  readonly functions?: Readonly<Record<string, { readonly manifest: string; readonly source: string }>>
  /** Appended to the config file. */
  readonly config?: string
}

export class World implements AsyncDisposable {
  readonly folder: string
  readonly endpointPort: number
  readonly #options: WorldOptions
  daemon: RunningProcess | undefined
  endpoint: RunningProcess | undefined

  private constructor(folder: string, endpointPort: number, options: WorldOptions) {
    this.folder = folder
    this.endpointPort = endpointPort
    this.#options = options
  }

  static async create(options: WorldOptions = {}): Promise<World> {
    const folder = await mkdtemp(join(tmpdir(), 'fescue-world-'))
    const world = new World(folder, await freePort(), options)
    const uplinkPort = (await options.uplinkPort?.(world.endpointPort)) ?? world.endpointPort
    await writeFile(
      join(folder, 'fescue.yaml'),
      `device: ${device}
mqtt: { host: 127.0.0.1, port: 0 }
http: { host: 127.0.0.1, port: 0 }
uplink: { connector: http, url: "http://127.0.0.1:${uplinkPort}/v1/events" }
routes:
  - { filter: in/#, to: default }
  - { filter: out/#, to: default }
${options.config ?? ''}`,
    )
    const functions = options.functions ?? countingFunctions
    for (const [name, { manifest, source }] of Object.entries(functions)) {
      await mkdir(join(folder, 'functions', name), { recursive: true })
      await writeFile(join(folder, 'functions', name, 'function.yaml'), manifest)
      await writeFile(join(folder, 'functions', name, 'index.js'), source)
    }
    await mkdir(join(folder, 'functions'), { recursive: true })
    return world
  }

  get dataFolder(): string {
    return join(this.folder, 'data')
  }

  get mqttPort(): number {
    return this.daemon?.ready.mqtt ?? 1
  }

  async startEndpoint(): Promise<void> {
    this.endpoint = await startFescue([
      'cloud',
      '--port',
      String(this.endpointPort),
      '--data',
      join(this.folder, 'cloud'),
    ])
  }

  async startDaemon(): Promise<void> {
    const args = ['start', '--config', join(this.folder, 'fescue.yaml'), '--data', this.dataFolder]
    this.daemon = await startFescue(
      [...args, '--functions', join(this.folder, 'functions')],
      this.#options.daemonNodeArgs ?? [],
      this.#options.daemonEnvironment ?? {},
    )
  }

  executors(): number[] {
    return this.daemon === undefined ? [] : executorsOf(this.daemon.pid)
  }

  /** GET from the daemon's API with its token. */
  async api<T>(path: string, init: RequestInit = {}): Promise<T> {
    return JSON.parse(await this.text(path, init)) as T
  }

  /** The same, as text. */
  async text(path: string, init: RequestInit = {}): Promise<string> {
    const token = (await readFile(join(this.dataFolder, 'token'), 'utf8')).trim()
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
    const response = await fetch(`http://127.0.0.1:${this.daemon?.ready.http}${path}`, { ...init, headers })
    const text = await response.text()
    if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`)
    return text
  }

  /** GET from the endpoint. */
  async cloud<T>(path: string): Promise<T> {
    const response = await fetch(`http://127.0.0.1:${this.endpointPort}${path}`)
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`)
    return (await response.json()) as T
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.daemon?.kill(), this.endpoint?.kill()])
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** A port that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer()
    server.on('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo
      server.close(() => resolve(port))
    })
  })
}
