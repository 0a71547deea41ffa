/** A subscriber without a socket: the link that a session's pump sends to, with the packets taken apart. */
import type { PersistentSession } from '#broker/persistent-session.ts'
import type { SessionLink } from '#broker/session.ts'

export type Received =
  | {
      readonly type: 'publish'
      readonly packetId: number
      readonly qos: number
      readonly dup: boolean
      readonly retain: boolean
      readonly topic: string
      readonly payload: string
    }
  | { readonly type: 'pubrel'; readonly packetId: number }

export class SessionClient implements SessionLink {
  readonly received: Received[] = []
  backlogBytes = 0
  #drained: (() => void)[] = []
  #arrived: (() => void)[] = []

  onDrain(callback: () => void): void {
    this.#drained.push(callback)
  }

  drain(): void {
    this.backlogBytes = 0
    for (const callback of this.#drained.splice(0)) callback()
  }

  send(packet: Buffer): void {
    this.received.push(decode(packet))
    for (const callback of this.#arrived.splice(0)) callback()
  }

  /** Resolves once `count` packets have come in all. */
  async until(count: number): Promise<void> {
    while (this.received.length < count) await new Promise<void>(resolve => this.#arrived.push(resolve))
  }

  get payloads(): string[] {
    return this.received.flatMap(packet => (packet.type === 'publish' ? [packet.payload] : []))
  }

  /** Resolves when PUBREC is taken and PUBREL may go out. */
  pubrec(session: PersistentSession, packetId: number): Promise<void> {
    return new Promise((resolve, reject) => {
      session.received(packetId, error => (error === undefined ? resolve() : reject(error)))
    })
  }
}

function decode(packet: Buffer): Received {
  const first = packet[0] ?? 0
  if (first === 0x62) return { type: 'pubrel', packetId: packet.readUInt16BE(2) }
  let at = 1
  while ((packet[at] ?? 0) >= 128) at += 1
  at += 1
  const topicBytes = packet.readUInt16BE(at)
  const topic = packet.toString('utf8', at + 2, at + 2 + topicBytes)
  at += 2 + topicBytes
  return {
    type: 'publish',
    packetId: packet.readUInt16BE(at),
    qos: (first >> 1) & 3,
    dup: (first & 8) !== 0,
    retain: (first & 1) !== 0,
    topic,
    payload: packet.toString('utf8', at + 2),
  }
}
