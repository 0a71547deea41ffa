/** Fescue as it is installed, the package: the whole way, each message fsynced before it is acknowledged. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { launch } from '../launch.ts'
import { type Order, type Peer, type RunningPeer, sensorFilter } from '../peer.ts'
import { writeSettings } from '../settings-file.ts'

export interface RunningFescue extends RunningPeer {
  /** The daemon's alone; `pids` has its executors too. */
  readonly daemonPid: number
  /** By the ready line. */
  readonly readyMs: number
  /** Asks the API. Errors: an answer other than 2xx, with its text. */
  api<T>(path: string, init?: { method?: string; body?: string }): Promise<T>
}

export interface FescueOrder extends Order {
  /** Added to the config file. */
  readonly config?: string
  /** Instead of the thermostat, `index.js` of every function. */
  readonly source?: string
}

const thermostat = `
import { publish } from 'fescue'
export async function handler(event, context) {
  const fan = 'actuators/' + context.topic.split('/')[1] + '/fan'
  publish(fan, { n: event.n, on: event.celsius > 28 }, { qos: 1 })
}
`

/** The functions' folder; one that is there already is left as it is. */
function writeFunctions({ folder, functions, source = thermostat }: FescueOrder): string {
  const parent = join(folder, 'functions')
  mkdirSync(parent, { recursive: true })
  for (let i = 0; i < functions; i++) {
    const each = join(parent, `thermostat-${i}`)
    mkdirSync(each, { recursive: true })
    writeFileSync(join(each, 'index.js'), source)
    writeFileSync(
      join(each, 'function.yaml'),
      `triggers:\n  - topic: ${sensorFilter(i, functions)}\npermissions:\n  publish: [actuators/+/fan]\n`,
    )
  }
  return parent
}

/** Starts the daemon; on a folder where one ran before it goes on with its data. */
export async function startFescue(order: FescueOrder): Promise<RunningFescue> {
  const { setting, folder, profile, functions } = order
  const config = writeSettings(`fescue/${setting}.yaml`, join(folder, 'fescue.yaml'), {})
  if (order.config !== undefined) writeFileSync(config, `\n${order.config}\n`, { flag: 'a' })
  const data = join(folder, 'data')
  const daemon = launch(profile, [
    ...[profile.node, profile.fescue, 'start', '--config', config, '--data', data],
    ...['--functions', writeFunctions({ ...order, functions })],
  ])
  const ready: { mqtt: number; http: number } = JSON.parse(await daemon.line('"ready"'))
  const readyMs = performance.now() - daemon.startedAt
  const [daemonPid = 0] = daemon.pids()
  const token = readFileSync(join(data, 'token'), 'utf8').trim()
  return {
    port: ready.mqtt,
    startedAt: daemon.startedAt,
    outcomes: 'actuators/#',
    pids: daemon.pids,
    daemonPid,
    readyMs,
    async api<T>(path: string, init = {}) {
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
      const answer = await fetch(`http://127.0.0.1:${ready.http}${path}`, { ...init, headers })
      if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
      return (await answer.json()) as T
    },
    [Symbol.asyncDispose]: () => daemon[Symbol.asyncDispose](),
  }
}

export const peer: Peer = {
  name: 'Fescue',
  does: 'runs the function; what a function, a route or a persistent session gets is on disk and fsynced before the acknowledgement',
  settings: ['defaults'],
  runsFunctions: true,
  isBroker: true,
  keepsMessages: true,
  missing: () => undefined,
  version: () => JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8')).version,
  start: startFescue,
}
