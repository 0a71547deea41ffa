/**
 * Sends the records of one session's log to the connection that carries it, in offset order.
 *
 *            progress.low                    next            log.end
 *               │                             │                │
 *     done done ▼ in flight · done · released ▼ not sent yet   ▼
 *     ──────────┴─────────────────────────────┴────────────────┴──►  offsets
 *
 * Beside it: `session-progress.ts` (what the client acknowledged), `sent-mark.ts` (what may have been sent
 * before), `publish-writer.ts` (bytes).
 *
 * The packet id is computed from the offset, so a message that is sent again has the id that it had
 * [MQTT-4.4.0-1] after any restart, with nothing stored per message. An id in flight is never given to another
 * record: the pump stops until it is free. A QoS 2 record waits for its fsync whatever its class, because a
 * lost and reused offset would be an id that the client still remembers (D9).
 */
import type { Clock } from '#base/clock.ts'
import { FescueError } from '#base/errors.ts'
import type { Offset } from '#base/ids.ts'
import type { CommitLog, ReadLimits, ReadResult } from '#store/commit-log.ts'
import type { LogRecord } from '#store/record.ts'
import type { Store } from '#store/store.ts'
import type { Transaction } from '#store/transaction.ts'
import { encodePublish, encodePubrel } from './publish-writer.ts'
import { SentMark } from './sent-mark.ts'
import { type AckOutcome, linkBacklogMaxBytes, type SessionLink } from './session.ts'
import type { SessionProgress } from './session-progress.ts'

/** Packet ids that exist: 1 to 65,535 [MQTT-2.3.1-1]. */
export const packetIds = 65_535
/** What one read of the log brings into memory while a client is served. */
const readLimits: ReadLimits = { maxRecords: 256, maxBytes: 256 * 1024 }

export function packetIdOf(offset: Offset): number {
  return (offset % packetIds) + 1
}

export interface PumpOptions {
  readonly store: Store
  readonly log: CommitLog
  readonly clock: Clock
  readonly progress: SessionProgress
  /** Unacknowledged messages at a time. */
  readonly inflightMax: number
  /** Offsets below may have been sent before this start. */
  readonly sentTo: Offset
  /** Writes the session's document with this `sentTo`. */
  writeSentTo(tx: Transaction, sentTo: Offset): void
  /** Whether a dropped record may have been one of QoS 2. */
  grantsQos2(): boolean
  /** A record was past its expiry when its turn came. */
  expired(): void
}

interface Flight {
  readonly offset: Offset
  readonly qos: 1 | 2
  phase: 'sent' | 'received'
}

interface Serving {
  readonly kind: 'serving'
  readonly link: SessionLink
  /** Unacknowledged messages by packet id. */
  readonly flights: Map<number, Flight>
  readonly stopListening: () => void
  /** Next offset to look at. */
  next: Offset
  /** What was read: `records[at]` on are not looked at yet, the log goes on at `readTo`. */
  records: readonly LogRecord[]
  at: number
  readTo: Offset
  /** What the pump cannot go on without. */
  waiting: 'nothing' | 'read' | 'drain' | 'sync'
}

type State = { readonly kind: 'idle' } | Serving | { readonly kind: 'ended' }

export class SessionPump {
  readonly #options: PumpOptions
  readonly #mark: SentMark
  #state: State = { kind: 'idle' }
  #woken = false

  constructor(options: PumpOptions) {
    const { store, sentTo } = options
    this.#options = options
    this.#mark = new SentMark({ store, sentTo, write: options.writeSentTo, onSafe: this.#wake })
  }

  /** Writes ahead what may be sent, before a connection is accepted. */
  reserve(tx: Transaction): void {
    this.#mark.reserve(tx, this.#options.progress.low)
  }

  get attached(): boolean {
    return this.#state.kind === 'serving'
  }

  attach(link: SessionLink): void {
    if (this.#state.kind !== 'idle') return
    const { log, progress } = this.#options
    this.#state = {
      kind: 'serving',
      link,
      flights: new Map(),
      stopListening: log.onAppend(this.#wake),
      next: progress.low,
      records: [],
      at: 0,
      readTo: progress.low,
      waiting: 'nothing',
    }
    this.#wake()
  }

  serves(link: SessionLink): boolean {
    return this.#state.kind === 'serving' && this.#state.link === link
  }

  /** Stops serving and writes the exact mark of what was sent. */
  detach(tx: Transaction): void {
    const state = this.#state
    if (state.kind === 'ended') return
    if (state.kind === 'serving') state.stopListening()
    this.#mark.settle(tx, state.kind === 'serving' ? state.next : 0)
    this.#state = { kind: 'idle' }
  }

  /** The session is gone: nothing is sent or written any more. */
  end(): void {
    if (this.#state.kind === 'serving') this.#state.stopListening()
    this.#state = { kind: 'ended' }
    this.#options.progress.end()
  }

  acknowledge(packetId: number, packet: 'puback' | 'pubcomp'): AckOutcome {
    if (this.#state.kind !== 'serving') return 'unknown'
    const flight = this.#state.flights.get(packetId)
    if (flight === undefined) return 'unknown'
    const fits = packet === 'puback' ? flight.qos === 1 : flight.phase === 'received'
    if (!fits) return 'wrong'
    this.#state.flights.delete(packetId)
    this.complete(flight.offset)
    return 'done'
  }

  received(packetId: number, done: (error?: Error) => void): void {
    const flight = this.#state.kind === 'serving' ? this.#state.flights.get(packetId) : undefined
    if (flight === undefined) {
      done()
    } else if (flight.qos === 1) {
      done(new FescueError('FESCUE_PACKET_MALFORMED', `PUBREC for packet id ${packetId} of QoS 1`))
    } else {
      flight.phase = 'received'
      this.release(flight.offset, done)
    }
  }

  /** Marks a record done, in flight or not. */
  complete(offset: Offset): void {
    this.#options.progress.complete(offset)
    this.#wake()
  }

  /** Marks a record received; `done` runs once that is kept. */
  release(offset: Offset, done: (error?: Error) => void): void {
    this.#options.progress.release(offset, done)
    this.#wake()
  }

  /** Once per turn at most, after all acknowledgements of one read were taken. */
  readonly #wake = (): void => {
    if (this.#woken) return
    this.#woken = true
    queueMicrotask(this.#turn)
  }

  readonly #turn = (): void => {
    this.#woken = false
    if (this.#state.kind === 'serving') this.#pump(this.#state)
    this.#options.progress.flush()
  }

  #pump(state: Serving): void {
    const { inflightMax } = this.#options
    while (state.waiting === 'nothing' && state.flights.size < inflightMax) {
      if (state.link.backlogBytes > linkBacklogMaxBytes) {
        this.#awaitDrain(state)
        return
      }
      const record = this.#peek(state)
      if (record === undefined) return
      if (record.offset > state.next) this.#passOver(state, record.offset)
      if (!this.#serve(state, record)) return
      state.at += 1
      state.next = record.offset + 1
    }
  }

  /** The record to look at next, or undefined when there is none in memory now. */
  #peek(state: Serving): LogRecord | undefined {
    const { log } = this.#options
    for (;;) {
      const record = state.records[state.at]
      if (record !== undefined) return record
      const gone = Math.max(state.readTo, log.head)
      if (state.next < gone) this.#passOver(state, gone)
      if (state.next >= log.end) return undefined
      const result = log.readCached(state.next, readLimits)
      if (result === undefined) return this.#read(state)
      if (result.next <= state.next) return undefined
      take(state, result)
    }
  }

  #read(state: Serving): undefined {
    state.waiting = 'read'
    this.#options.log.read(state.next, readLimits).then(
      result => {
        take(state, result)
        this.#goOn(state)
      },
      // The store is closing: what is not sent stays in the log.
      () => {},
    )
  }

  /** Sends one record, or finds that it needs no sending; false when its turn has not come. */
  #serve(state: Serving, record: LogRecord): boolean {
    const { offset } = record
    const { progress, clock } = this.#options
    const again = offset < this.#mark.resendBelow
    if (again && progress.isDone(offset)) return true
    if (again && progress.isReleased(offset)) return this.#sendPubrel(state, offset)
    if (record.expiresAt !== undefined && record.expiresAt <= clock.now()) {
      progress.expire(offset)
      this.#options.expired()
      return true
    }
    const packetId = packetIdOf(offset)
    if (state.flights.has(packetId) || !this.#mayLeave(state, record)) return false
    state.flights.set(packetId, { offset, qos: record.qos === 2 ? 2 : 1, phase: 'sent' })
    state.link.send(encodePublish(record, packetId, again))
    return true
  }

  #mayLeave(state: Serving, record: LogRecord): boolean {
    if (!this.#mark.covers(record.offset)) return false
    if (record.qos < 2 || record.offset < this.#options.log.synced) return true
    this.#awaitSync(state)
    return false
  }

  #sendPubrel(state: Serving, offset: Offset): boolean {
    const packetId = packetIdOf(offset)
    if (state.flights.has(packetId)) return false
    state.flights.set(packetId, { offset, qos: 2, phase: 'received' })
    state.link.send(encodePubrel(packetId))
    return true
  }

  /**
   * Records up to `to` are gone from the log (overflow, age, damage; its ledger says so). Flows of QoS 2 that
   * had begun are finished with PUBREL, or the client would keep their ids for ever and take a later message
   * with the same id for a repetition.
   */
  #passOver(state: Serving, to: Offset): void {
    const { progress } = this.#options
    const began = Math.min(to, this.#mark.resendBelow)
    const doubtful = this.#options.grantsQos2()
    let from = state.next
    for (let offset = from; offset < began; offset++) {
      if (progress.isDone(offset) || !(doubtful || progress.isReleased(offset))) continue
      if (!this.#sendPubrel(state, offset)) continue
      progress.complete(from, offset)
      progress.release(offset)
      from = offset + 1
    }
    progress.complete(from, to)
    state.next = to
  }

  #awaitDrain(state: Serving): void {
    state.waiting = 'drain'
    state.link.onDrain(() => this.#goOn(state))
  }

  #awaitSync(state: Serving): void {
    state.waiting = 'sync'
    this.#options.store.sync().then(
      () => this.#goOn(state),
      () => {},
    )
  }

  #goOn(state: Serving): void {
    state.waiting = 'nothing'
    if (this.#state === state) this.#wake()
  }
}

function take(state: Serving, result: ReadResult): void {
  state.records = result.records
  state.at = 0
  state.readTo = result.next
}
