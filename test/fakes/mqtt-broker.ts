/** A broker whose answers a test decides, byte-exact by mqtt-packet: for refusals and silences that real ones seldom give. */
import { once } from 'node:events'
import net from 'node:net'
import mqttPacket, { type IConnectPacket, type IPublishPacket, type Packet } from 'mqtt-packet'

export interface Peer {
  readonly connect: IConnectPacket
  /** PUBLISH packets in order of arrival. */
  readonly published: readonly IPublishPacket[]
  send(packet: Packet): void
  hangUp(): void
}

export interface FakeBrokerOptions {
  /** Answer to a CONNECT; undefined: hang up. Default: accepted. */
  readonly connack?: (connect: IConnectPacket) => Packet | undefined
  readonly onPublish?: (packet: IPublishPacket, peer: Peer) => void
  readonly onPacket?: (packet: Packet, peer: Peer) => void
}

export interface FakeBroker extends AsyncDisposable {
  readonly url: string
  /** Connections in order. */
  readonly peers: readonly Peer[]
  readonly published: readonly IPublishPacket[]
}

export function accepted(connect: IConnectPacket, properties = {}): Packet {
  return connect.protocolVersion === 5
    ? { cmd: 'connack', reasonCode: 0, sessionPresent: false, properties }
    : { cmd: 'connack', returnCode: 0, sessionPresent: false }
}

export function acknowledge({ messageId }: IPublishPacket, { send }: Peer, reasonCode = 0): void {
  send({ cmd: 'puback', messageId: messageId ?? 0, reasonCode })
}

export async function startFakeBroker(options: FakeBrokerOptions = {}): Promise<FakeBroker> {
  const { connack = accepted, onPublish = acknowledge, onPacket = () => {} } = options
  const peers: Peer[] = []
  const published: IPublishPacket[] = []
  const sockets = new Set<net.Socket>()
  const server = net.createServer(socket => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    let peer: (Peer & { published: IPublishPacket[] }) | undefined
    const parser = mqttPacket.parser()
    socket.on('data', chunk => parser.parse(chunk))
    parser.on('packet', (packet: Packet) => {
      if (packet.cmd === 'connect') {
        const protocolVersion = packet.protocolVersion ?? 4
        peer = {
          connect: packet,
          published: [],
          send: answer => {
            socket.write(mqttPacket.generate(answer, { protocolVersion }))
          },
          hangUp: () => socket.destroy(),
        }
        peers.push(peer)
        const answer = connack(packet)
        if (answer === undefined) socket.destroy()
        else peer.send(answer)
      } else if (peer === undefined) socket.destroy()
      else if (packet.cmd === 'publish') {
        peer.published.push(packet)
        published.push(packet)
        onPublish(packet, peer)
      } else if (packet.cmd === 'pingreq') peer.send({ cmd: 'pingresp' })
      else onPacket(packet, peer)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  return {
    url: `mqtt://127.0.0.1:${port}`,
    peers,
    published,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
