/** QoS 2 packet ids of a clean session: they end with the connection, so they are kept in memory alone. */
import type { InboundIds } from './session.ts'

export class CleanInbound implements InboundIds {
  readonly #ids = new Set<number>()

  get size(): number {
    return this.#ids.size
  }

  has(packetId: number): boolean {
    return this.#ids.has(packetId)
  }

  stage(_tx: unknown, packetId: number): void {
    this.#ids.add(packetId)
  }

  release(packetId: number, done: (error?: Error) => void): void {
    this.#ids.delete(packetId)
    done()
  }

  /** A clean session's resends are new messages (the promise is made to persistent sessions). */
  isResend(): boolean {
    return false
  }

  stageQos1(): void {}

  revoke(packetId: number): void {
    this.#ids.delete(packetId)
  }
}
