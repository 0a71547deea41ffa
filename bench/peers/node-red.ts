/**
 * Node-RED beside mosquitto, the usual pair: per function one flow of an MQTT node, a function node and an MQTT
 * node, QoS 1 both ways. What a function node has taken is in memory only.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '../../test/harness/world.ts'
import { launch } from '../launch.ts'
import { firstMessageThrough } from '../load/probe.ts'
import { type Order, type Peer, type RunningPeer, sensorFilter, sensorTopic } from '../peer.ts'
import { packageFile, packageMissing, packageVersion } from '../peer-packages.ts'
import { peer as mosquitto, startMosquitto } from './mosquitto.ts'

interface Setting {
  readonly node: readonly string[]
  readonly settings: object
}

const thermostat = `return {
  topic: 'actuators/' + msg.topic.split('/')[1] + '/fan',
  payload: { n: msg.payload.n, on: msg.payload.celsius > 28 },
}`

function flows(brokerPort: number, functions: number): object[] {
  const broker = {
    id: 'broker',
    type: 'mqtt-broker',
    broker: '127.0.0.1',
    port: String(brokerPort),
    clientid: 'node-red',
    autoConnect: true,
    protocolVersion: '4',
    keepalive: '60',
    cleansession: true,
  }
  const nodes = Array.from({ length: functions }, (_, i) => [
    {
      id: `in${i}`,
      type: 'mqtt in',
      z: 'tab',
      topic: sensorFilter(i, functions),
      qos: '1',
      datatype: 'json',
      broker: 'broker',
      inputs: 0,
      wires: [[`function${i}`]],
    },
    { id: `function${i}`, type: 'function', z: 'tab', func: thermostat, outputs: 1, wires: [[`out${i}`]] },
    { id: `out${i}`, type: 'mqtt out', z: 'tab', topic: '', qos: '1', retain: 'false', broker: 'broker' },
  ])
  return [{ id: 'tab', type: 'tab', label: 'bench' }, broker, ...nodes.flat()]
}

async function start({ setting, folder, functions, profile }: Order): Promise<RunningPeer> {
  await using started = new AsyncDisposableStack()
  const brokerFolder = join(folder, 'mosquitto')
  mkdirSync(brokerFolder, { recursive: true })
  const broker = started.use(
    await startMosquitto({ setting: 'raw', folder: brokerFolder, functions: 0, profile }),
  )
  const all: Record<string, Setting> = JSON.parse(
    readFileSync(join(import.meta.dirname, 'node-red/settings.json'), 'utf8'),
  )
  const { node, settings } = all[setting] ?? { node: [], settings: {} }
  const fixed = {
    flowFile: 'flows.json',
    uiHost: '127.0.0.1',
    uiPort: await freePort(),
    credentialSecret: false,
  }
  const settingsFile = join(folder, 'settings.cjs')
  writeFileSync(settingsFile, `module.exports = ${JSON.stringify({ ...fixed, ...settings })}\n`)
  writeFileSync(join(folder, 'flows.json'), JSON.stringify(flows(broker.port, functions)))
  const nodeRed = started.use(
    launch(profile, [
      ...[profile.node, ...node, packageFile('node-red', 'red.js')],
      ...['--userDir', folder, '--settings', settingsFile],
    ]),
  )
  await nodeRed.line('Started flows')
  await firstMessageThrough(broker.port, sensorTopic(0), 'actuators/#')
  const running = started.move()
  return {
    port: broker.port,
    startedAt: broker.startedAt,
    outcomes: 'actuators/#',
    pids: () => [...broker.pids(), ...nodeRed.pids()],
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

export const peer: Peer = {
  name: 'Node-RED + mosquitto',
  does: 'runs the function; nothing is on disk',
  settings: ['no-editor', 'defaults', 'young-generation-64-mb'],
  runsFunctions: true,
  isBroker: false,
  keepsMessages: false,
  missing: () => mosquitto.missing() ?? packageMissing('node-red'),
  version: () => `${packageVersion('node-red')} with mosquitto ${mosquitto.version()}`,
  start,
}
