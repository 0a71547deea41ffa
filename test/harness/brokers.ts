/** Brokers of other makers as a cloud under test: mosquitto and nats-server, on the loopback, restarted on the same port. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import net from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import mqtt, { type IClientOptions, type IPublishPacket, type MqttClient } from 'mqtt'

export const run = promisify(execFile)

export interface ForeignBroker extends AsyncDisposable {
  readonly port: number
  readonly url: string
  start(): Promise<void>
  /** SIGTERM: it keeps its sessions. Resolves when it is gone. */
  stop(): Promise<void>
}

export async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** Starts a program that listens on `port`, and again after each stop. */
export async function broker(program: string, args: readonly string[], port: number): Promise<ForeignBroker> {
  let child: ChildProcess | undefined
  const stop = async () => {
    const ending = child
    child = undefined
    if (ending === undefined || ending.exitCode !== null) return
    const gone = once(ending, 'exit')
    ending.kill('SIGTERM')
    await gone
  }
  const started: ForeignBroker = {
    port,
    url: `mqtt://127.0.0.1:${port}`,
    async start() {
      child = spawn(program, args, { stdio: 'ignore', env: { PATH: `${process.env.PATH}:/usr/sbin` } })
      while (!(await listens(port))) {
        if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}`)
        await new Promise(resolve => setTimeout(resolve, 10))
      }
    },
    stop,
    [Symbol.asyncDispose]: stop,
  }
  await started.start()
  return started
}

function listens(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = net.connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

export interface MosquittoOptions {
  readonly folder: string
  /** Lines of its config besides the listener's; `{folder}` is replaced. */
  readonly config?: string
}

/** mosquitto with sessions kept over a restart; anybody may connect unless the config says otherwise. */
export async function startMosquitto({ folder, config = '' }: MosquittoOptions): Promise<ForeignBroker> {
  const port = await freePort()
  const file = join(folder, `mosquitto-${port}.conf`)
  const anonymous = config.includes('password_file') ? 'false' : 'true'
  await writeFile(
    file,
    `listener ${port} 127.0.0.1
allow_anonymous ${anonymous}
user root
persistence true
persistence_location ${folder}/
max_queued_messages 0
${config.replaceAll('{folder}', folder)}
`,
  )
  return broker('mosquitto', ['-c', file], port)
}

/** nats-server with MQTT (3.1.1) over JetStream. */
export async function startNats(folder: string): Promise<ForeignBroker> {
  const [port, client] = [await freePort(), await freePort()]
  const file = join(folder, 'nats.conf')
  await writeFile(
    file,
    `host: 127.0.0.1
port: ${client}
server_name: cloud
jetstream { store_dir: "${folder}/jetstream" }
mqtt { host: 127.0.0.1, port: ${port} }
`,
  )
  return broker('nats-server', ['-c', file], port)
}

export interface Collector extends AsyncDisposable {
  readonly client: MqttClient
  readonly packets: readonly IPublishPacket[]
  /** `n` of each JSON payload, in order of arrival. */
  numbers(): number[]
}

/** A client that keeps what it gets, in a session that outlives a restart of the broker. */
export async function collect(url: string, filter: string, options: IClientOptions = {}): Promise<Collector> {
  const client = mqtt.connect(url, {
    clientId: `collector-${Math.floor(Math.random() * 1e9)}`,
    clean: false,
    reconnectPeriod: 50,
    protocolVersion: 5,
    properties: { sessionExpiryInterval: 3_600 },
    ...options,
  })
  const packets: IPublishPacket[] = []
  client.on('message', (_, __, packet) => packets.push(packet))
  client.on('error', () => {})
  await new Promise<void>(resolve => client.once('connect', () => resolve()))
  await client.subscribeAsync(filter, { qos: 1 })
  return {
    client,
    packets,
    numbers: () => packets.map(({ payload }) => JSON.parse(payload.toString()).n),
    async [Symbol.asyncDispose]() {
      await client.endAsync(true)
    },
  }
}

/** Each number once, in the order in which it came first. */
export function firsts(numbers: readonly number[]): number[] {
  return [...new Set(numbers)]
}

/** An authority and a certificate of it for localhost, good for server and client: paths of PEM files. */
export async function certificates(folder: string): Promise<{ ca: string; cert: string; key: string }> {
  const file = (name: string) => join(folder, name)
  const [ca, caKey, cert, key] = [file('ca.pem'), file('ca.key'), file('cert.pem'), file('key.pem')]
  const fresh = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2']
  await run('openssl', [...fresh, '-keyout', caKey, '-out', ca, '-subj', '/CN=authority'])
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  await run('openssl', [...fresh, '-keyout', key, '-out', cert, ...names, '-CA', ca, '-CAkey', caKey])
  return { ca, cert, key }
}
