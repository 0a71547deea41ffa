/**
 * One batch on its way to a broker: its records leave in order, at most a window of them unacknowledged.
 *
 *   records   done done done │ sent sent sent │ not yet
 *                            low              next          low counts only an unbroken run of PUBACKs (D3)
 *
 * A refused record ends the batch: nothing more leaves, what is under way is waited for, and the outcome says
 * which record it was. So a record that is taken later can only be one that was sent before.
 */
import type { Clock } from '#base/clock.ts'
import type { OutgoingBatch, SendOptions, SendOutcome } from './connector.ts'
import { type Publication, type Publications, packetBytes } from './mqtt-publication.ts'
import { type Failure, publishFailure, unknownRefusal, withoutRecord } from './mqtt-reasons.ts'
import type { MqttSession } from './mqtt-session.ts'
import type { SendWindow } from './send-window.ts'

/** Acknowledged records after which the owner is told: what would be sent again after a crash. */
const tellEvery = 32

export interface DeliveryOptions extends SendOptions {
  readonly session: MqttSession
  readonly window: SendWindow
  readonly batch: OutgoingBatch
  readonly publications: Publications
  readonly clock: Clock
}

interface Refused {
  readonly index: number
  readonly failure: Failure
}

export class Delivery {
  readonly #options: DeliveryOptions
  readonly #done: Uint8Array
  #low = 0
  #underWay = 0
  #told = 0
  #next = 0
  #refused: Refused | undefined
  #settle: ((outcome: SendOutcome) => void) | undefined
  #cancel: () => void = () => {}
  readonly #aborted = () => this.#finish({ type: 'retryable', reason: 'the link was cut' })

  constructor(options: DeliveryOptions) {
    this.#options = options
    this.#done = new Uint8Array(options.batch.records.length)
  }

  /** Resolves when all are acknowledged, one is refused, or the connection is `lost`. */
  run(): Promise<SendOutcome> {
    const { signal, session } = this.#options
    return new Promise(resolve => {
      this.#settle = resolve
      signal.addEventListener('abort', this.#aborted, { once: true })
      if (signal.aborted) this.#aborted()
      else if (session.failure !== undefined) this.lost(session.failure)
      else this.#pump()
    })
  }

  /** The connection is gone. */
  lost(failure: Failure): void {
    const from = this.#low
    if (from < this.#next) this.#options.window.broke()
    if (failure.type !== 'rejected' || from === this.#next) this.#finish(withoutRecord(failure))
    // PUBACKs come in order [MQTT-4.6.0-2]; what a DISCONNECT is about is one of those that were under way.
    else
      this.#finish({ ...failure, suspects: { from, to: failure === unknownRefusal ? from + 1 : this.#next } })
  }

  #pump(): void {
    const { session, publications, batch, window } = this.#options
    const { version, maximumPacketBytes, receiveMaximum } = session.limits
    const most = window.records(receiveMaximum)
    while (this.#next - this.#low < most && this.#refused === undefined) {
      const publication = publications.of(batch, this.#next)
      if (publication === undefined) break
      const bytes = packetBytes(publication, version)
      if (bytes > maximumPacketBytes) this.#refuse(this.#next, tooLarge(bytes, maximumPacketBytes))
      else this.#send(this.#next++, publication)
    }
    this.#look()
  }

  #send(index: number, publication: Publication): void {
    this.#underWay += 1
    this.#options.session.publish(publication, reason => this.#answered(index, reason))
  }

  #answered(index: number, reason: number): void {
    if (this.#settle === undefined) return
    this.#underWay -= 1
    const failure = publishFailure(reason)
    if (failure === undefined) {
      this.#done[index] = 1
      this.#options.window.acknowledged()
    } else this.#refuse(index, failure)
    while (this.#low < this.#next && this.#done[this.#low] === 1) this.#low += 1
    if (this.#low - this.#told >= tellEvery) this.#tell()
    this.#pump()
  }

  #refuse(index: number, failure: Failure): void {
    if (this.#refused === undefined || index < this.#refused.index) this.#refused = { index, failure }
  }

  /** Ends the batch when it is over, else begins its deadline anew. */
  #look(): void {
    const { batch, clock, timeoutMs } = this.#options
    this.#cancel()
    if (this.#low === batch.records.length) this.#finish({ type: 'acknowledged' })
    else if (this.#refused !== undefined && this.#underWay === 0) this.#finish(refusal(this.#refused))
    else
      this.#cancel = clock.after(timeoutMs, () =>
        this.#finish({ type: 'timeout', reason: `no acknowledgement within ${Math.round(timeoutMs)} ms` }),
      )
  }

  #tell(): void {
    this.#told = this.#low
    this.#options.progress?.(this.#low)
  }

  #finish(outcome: SendOutcome): void {
    const settle = this.#settle
    this.#settle = undefined
    this.#cancel()
    this.#options.signal.removeEventListener('abort', this.#aborted)
    if (settle === undefined) return
    if (outcome.type !== 'acknowledged' && this.#low > this.#told) this.#tell()
    settle(outcome)
  }
}

function refusal({ index, failure }: Refused): SendOutcome {
  return failure.type === 'rejected' ? { ...failure, suspects: { from: index, to: index + 1 } } : failure
}

function tooLarge(bytes: number, maximum: number): Failure {
  const reason = `the packet has ${bytes} bytes, and the broker takes ${maximum}`
  return { type: 'rejected', reason, why: 'too-large' }
}
