/**
 * A session's queue as aedes addresses it: by the packet ids that aedes gives, not by those of our pump.
 *
 * The ids live as long as this object; a record that is done or dropped loses its id at the next look.
 */
import type { Offset } from '#base/ids.ts'
import type { PersistentSession } from './persistent-session.ts'
import { type AedesPacket, type BrokerMark, brokerMark, toPacket } from './stored-packet.ts'

interface Queued {
  readonly offset: Offset
  readonly mark: BrokerMark
  readonly messageId: number | undefined
  readonly packet: AedesPacket
}

export class QueueById {
  readonly session: PersistentSession
  #ids = new Map<Offset, number | undefined>()

  constructor(session: PersistentSession) {
    this.session = session
  }

  /** What is not acknowledged, in offset order; a PUBREL in place of what is received. */
  async *packets(): AsyncGenerator<AedesPacket> {
    for await (const { packet } of this.#queued()) yield packet
  }

  /** Whether the packet was there. */
  async update(packet: AedesPacket): Promise<boolean> {
    for await (const { offset, mark, messageId } of this.#queued()) {
      // A packet without a broker's mark is known by its id alone: two of them must not be taken for one.
      const sameBroker = packet.brokerId !== undefined && mark.brokerId === packet.brokerId
      const same = sameBroker ? mark.brokerCounter === packet.brokerCounter : messageId === packet.messageId
      if (!same) continue
      if (packet.cmd === 'pubrel') await this.session.markReceived(offset)
      else this.#ids.set(offset, packet.messageId)
      return true
    }
    return false
  }

  /** Acknowledges the first packet with this id and gives it back. */
  async clear(messageId: number | undefined): Promise<AedesPacket | undefined> {
    if (messageId === undefined) return undefined
    for await (const queued of this.#queued()) {
      if (queued.messageId !== messageId) continue
      this.session.complete(queued.offset)
      this.#ids.delete(queued.offset)
      return queued.packet
    }
    return undefined
  }

  async *#queued(): AsyncGenerator<Queued> {
    const known = this.#ids
    const kept = new Map<Offset, number | undefined>()
    for await (const { record, released } of this.session.unacknowledged()) {
      const { offset } = record
      const messageId = known.get(offset)
      if (messageId !== undefined) kept.set(offset, messageId)
      const publish: AedesPacket = { ...toPacket(record), dup: false, messageId }
      const packet: AedesPacket = released ? { cmd: 'pubrel', messageId } : publish
      yield { offset, mark: brokerMark(record), messageId, packet }
    }
    if (kept.size < known.size) this.#ids = kept
  }
}
