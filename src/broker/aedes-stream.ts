/**
 * The stream that aedes takes for a client's socket. It carries only the control packets: our side feeds it whole
 * frames, and what aedes writes is handed on at once, so that its bytes keep their place among ours.
 */
import { Duplex } from 'node:stream'

export interface AedesPeer {
  /** Bytes from aedes for the client, in order. */
  fromAedes(bytes: Buffer): void
  /** aedes ended the connection (DISCONNECT, refusal, takeover, error). */
  aedesClosed(): void
}

export class AedesStream<Peer extends AedesPeer = AedesPeer> extends Duplex {
  readonly peer: Peer

  constructor(peer: Peer) {
    super({ autoDestroy: false, highWaterMark: 64 * 1024 })
    this.peer = peer
  }

  /** Gives aedes a whole packet. */
  feed(packet: Buffer): void {
    if (!this.destroyed) this.push(packet)
  }

  override _read(): void {}

  /** mqtt-packet writes a packet in pieces, all in one call stack; nothing may come between them. */
  override write(bytes: unknown): boolean {
    if (this.destroyed) return true
    this.peer.fromAedes(typeof bytes === 'string' ? Buffer.from(bytes) : (bytes as Buffer))
    return true
  }

  override cork(): void {}
  override uncork(): void {}

  override _destroy(_error: Error | null, done: (error?: Error | null) => void): void {
    this.peer.aedesClosed()
    done(null)
  }
}
