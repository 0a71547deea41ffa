/** The brokers under the bench, each in a process of its own, started with what it needs and ended by its pid. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import net from 'node:net'
import { join } from 'node:path'
import { childrenOf, startFescue } from '../test/harness/processes.ts'
import { freePort } from '../test/harness/world.ts'

export interface Peer extends AsyncDisposable {
  readonly name: string
  readonly port: number
  /** The broker's process and its children. */
  pids(): number[]
}

/** mosquitto with nothing on disk, no queue limits and no Nagle: its raw rate. */
export async function startMosquitto(folder: string): Promise<Peer> {
  const port = await freePort()
  await mkdir(folder, { recursive: true })
  const config = join(folder, 'mosquitto.conf')
  await writeFile(
    config,
    `listener ${port} 127.0.0.1
allow_anonymous true
persistence false
set_tcp_nodelay true
max_inflight_messages 0
max_queued_messages 0
log_dest none
`,
  )
  const child = spawn('/usr/sbin/mosquitto', ['-c', config], { stdio: 'ignore' })
  const gone = once(child, 'exit')
  await reachable(port)
  return {
    name: 'mosquitto',
    port,
    pids: () => [child.pid!],
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      await gone
    },
  }
}

const thermostat = `
import { publish } from 'fescue'
export async function handler(event, context) {
  publish('actuators/' + context.topic.split('/')[1] + '/fan', { t: event.t, on: event.celsius > 28 }, { qos: 1 })
}
`

/** Fescue as it is: sensor → function → actuator, QoS 1, fsync before each PUBACK. */
export async function startFescuePeer(folder: string): Promise<Peer> {
  const functions = join(folder, 'functions')
  await mkdir(join(functions, 'thermostat'), { recursive: true })
  await writeFile(join(functions, 'thermostat', 'index.js'), thermostat)
  await writeFile(
    join(functions, 'thermostat', 'function.yaml'),
    'triggers:\n  - topic: sensors/+/temperature\npermissions:\n  publish: [actuators/+/fan]\n',
  )
  const config = join(folder, 'fescue.yaml')
  await writeFile(
    config,
    'device: bench\nmqtt: { host: 127.0.0.1, port: 0 }\nhttp: { host: 127.0.0.1, port: 0 }\nlog: { level: warn }\n',
  )
  const daemon = await startFescue([
    'start',
    '--config',
    config,
    '--data',
    join(folder, 'data'),
    '--functions',
    functions,
  ])
  return {
    name: 'fescue',
    port: daemon.ready.mqtt,
    pids: () => [daemon.pid, ...childrenOf(daemon.pid).map(({ pid }) => pid)],
    async [Symbol.asyncDispose]() {
      await daemon.stop()
    },
  }
}

async function reachable(port: number): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const socket = net.connect(port, '127.0.0.1')
    const up = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'error').then(() => false),
    ]).catch(() => false)
    socket.destroy()
    if (up) return
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  throw new Error(`nothing listens on ${port}`)
}
