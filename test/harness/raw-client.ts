/** A raw MQTT client on a socket of its own: sends packets or bytes, waits for packets, and sees the close. */
import { once } from 'node:events'
import net from 'node:net'
import mqtt, { type IConnectPacket, type Packet } from 'mqtt-packet'

export class RawClient implements AsyncDisposable {
  readonly socket: net.Socket
  /** All packets received so far. */
  readonly packets: Packet[] = []
  readonly closed: Promise<void>
  isClosed = false
  /** PUBLISH packets received so far. */
  publishes = 0
  #taken = 0
  #waiting: (() => void)[] = []

  private constructor(socket: net.Socket) {
    this.socket = socket
    const parser = mqtt.parser({ protocolVersion: 4 })
    parser.on('packet', packet => {
      this.packets.push(packet)
      if (packet.cmd === 'publish') this.publishes += 1
      this.#wake()
    })
    socket.on('data', chunk => parser.parse(chunk))
    socket.on('error', () => {})
    this.closed = new Promise(resolve => {
      socket.on('close', () => {
        this.isClosed = true
        resolve()
        this.#wake()
      })
    })
  }

  static async open(port: number): Promise<RawClient> {
    const socket = net.connect({ host: '127.0.0.1', port, noDelay: true })
    await once(socket, 'connect')
    return new RawClient(socket)
  }

  /** Opens and connects; resolves with CONNACK's session-present too. */
  static async connect(port: number, fields: Partial<IConnectPacket> = {}): Promise<RawClient> {
    const client = await RawClient.open(port)
    client.send(connectPacket(fields))
    const connack = await client.next('connack')
    if (connack.returnCode !== 0) throw new Error(`CONNACK ${connack.returnCode}`)
    client.sessionPresent = connack.sessionPresent
    return client
  }

  sessionPresent = false

  send(...packets: Packet[]): void {
    this.socket.write(Buffer.concat(packets.map(packet => mqtt.generate(packet))))
  }

  bytes(...bytes: number[]): void {
    this.socket.write(Buffer.from(bytes))
  }

  publish(
    topic: string,
    payload: string | Buffer,
    qos: 0 | 1 | 2 = 0,
    messageId = 0,
    more: { dup?: boolean; retain?: boolean } = {},
  ): void {
    this.send(publishPacket(topic, payload, qos, messageId, more))
  }

  async subscribe(...filters: [topic: string, qos: 0 | 1 | 2][]): Promise<number[]> {
    this.send({
      cmd: 'subscribe',
      messageId: 99,
      subscriptions: filters.map(([topic, qos]) => ({ topic, qos })),
    })
    return (await this.next('suback')).granted as number[]
  }

  /** The next packet of a kind that was not taken yet; others before it are passed over. Rejects at the close. */
  async next<Cmd extends Packet['cmd']>(cmd: Cmd): Promise<Extract<Packet, { cmd: Cmd }>> {
    for (;;) {
      while (this.#taken < this.packets.length) {
        const packet = this.packets[this.#taken++]
        if (packet?.cmd === cmd) return packet as Extract<Packet, { cmd: Cmd }>
      }
      if (this.isClosed) throw new Error(`closed while waiting for ${cmd}`)
      await new Promise<void>(resolve => this.#waiting.push(resolve))
    }
  }

  /** Resolves when PINGRESP is back: all that was sent before has been handled. */
  async roundTrip(): Promise<void> {
    this.send({ cmd: 'pingreq' })
    await this.next('pingresp')
  }

  /** Payloads of the PUBLISH packets received. */
  get received(): string[] {
    return this.packets.flatMap(packet => (packet.cmd === 'publish' ? [packet.payload.toString()] : []))
  }

  /** Their topics. */
  get topics(): string[] {
    return this.packets.flatMap(packet => (packet.cmd === 'publish' ? [packet.topic] : []))
  }

  kinds(): string[] {
    return this.packets.map(packet =>
      packet.messageId === undefined ? packet.cmd : `${packet.cmd} ${packet.messageId}`,
    )
  }

  /** Waits until so many PUBLISH packets came; their payloads. */
  async messages(count: number): Promise<string[]> {
    await this.arrived(count)
    return this.received
  }

  /** Waits until so many PUBLISH packets came. */
  async arrived(count: number): Promise<void> {
    while (this.publishes < count) {
      if (this.isClosed) throw new Error(`closed with ${this.publishes} of ${count} messages`)
      await new Promise<void>(resolve => this.#waiting.push(resolve))
    }
  }

  /** Drops the packets that `next` has passed. */
  forget(): void {
    this.packets.splice(0, this.#taken)
    this.#taken = 0
  }

  /** Cuts the connection without DISCONNECT. */
  async cut(): Promise<void> {
    this.socket.destroy()
    await this.closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cut()
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}

let clients = 0

export function connectPacket(fields: Partial<IConnectPacket> = {}): IConnectPacket {
  return {
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clean: true,
    clientId: `raw-${process.pid}-${clients++}`,
    keepalive: 0,
    ...fields,
  }
}

export function publishPacket(
  topic: string,
  payload: string | Buffer,
  qos: 0 | 1 | 2 = 0,
  messageId = 0,
  { dup = false, retain = false }: { dup?: boolean; retain?: boolean } = {},
): Packet {
  return { cmd: 'publish', topic, payload, qos, dup, retain, ...(qos > 0 ? { messageId } : {}) }
}
