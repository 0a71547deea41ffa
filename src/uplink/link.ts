/**
 * One link to one receiver: connects, asks for its numbers, and sends the logs' batches one after another.
 *
 *   connecting ──► connected ──► offline ──(full jitter)──► connecting
 *       │              │  └────► refused ──(slowly)───────► connecting
 *       └──────────────┴───────► cut ──(setOnline)────────► connecting
 *
 *   turns ─► outbox.prepare ─► encode ─┐  prepared while the batch before is in flight
 *                                      ▼
 *              acknowledge ◄── connector.send          files: outbox, turns, batch-size, suspects, reconcile
 *
 * One request is in flight: a log must arrive in offset order, and over several connections it would not. D3:
 * the checkpoint moves on `acknowledged` and nowhere else. A backoff ends once the connection has held for
 * `heldMs`. When idle the receiver is asked again every `probeMs`, so that `connected` means what it says.
 */
import { Backoff } from '#base/backoff.ts'
import { type Clock, sleep } from '#base/clock.ts'
import { asFescueError } from '#base/errors.ts'
import type { Logger } from '#base/logger.ts'
import type { Store } from '#store/store.ts'
import { BatchSize } from './batch-size.ts'
import type {
  Connector,
  EncodedBatch,
  IndexRange,
  NumbersOutcome,
  OutgoingBatch,
  SendOutcome,
} from './connector.ts'
import type { Outbox } from './outbox.ts'
import { epochsToAsk, reconcile, strangers } from './reconcile.ts'
import type { LinkState } from './status.ts'
import { Suspects } from './suspects.ts'
import type { Timings } from './timings.ts'
import { Turns } from './turns.ts'

export interface LinkOptions {
  readonly name: string
  readonly store: Store
  readonly clock: Clock
  readonly logger: Logger
  readonly connector: Connector
  readonly ledger: Outbox
  readonly outboxes: readonly Outbox[]
  readonly timings: Timings
  /** false: it is cut from the start. */
  readonly isOnline?: boolean
}

export interface LinkCounts {
  readonly sentRecords: number
  readonly rejectedRecords: number
  readonly lastAckAt: number | undefined
  readonly recordsPerS: number
}

/** Why a session ended. */
type Ending =
  | { readonly type: 'offline'; readonly reason: string; readonly retryAfterMs: number }
  | { readonly type: 'refused'; readonly reason: string }
  | { readonly type: 'ended' }

interface Work {
  readonly outbox: Outbox
  readonly encoded: EncodedBatch
}

const ended: Ending = { type: 'ended' }

/** The part of a rejected batch in which the culprit is. */
function part(batch: OutgoingBatch, range: IndexRange | undefined): OutgoingBatch {
  if (range === undefined) return batch
  const records = batch.records.slice(range.from, range.to)
  const last = records.at(-1)
  return last === undefined ? batch : { ...batch, records, to: last.offset + 1 }
}

export class Link {
  readonly name: string
  readonly #options: LinkOptions
  readonly #all: readonly Outbox[]
  readonly #turns = new Turns()
  readonly #size: BatchSize
  readonly #suspects: Suspects
  readonly #backoff: Backoff
  readonly #stop = new AbortController()
  #cut = new AbortController()
  #isOnline = true
  readonly #draining = new AbortController()
  #refusals = 0
  #state: LinkState
  /** State and reason that were logged last: a receiver that stays away is one line, not one per try. */
  #told = ''
  #wake: () => void = () => {}
  #sentRecords = 0
  #rejectedRecords = 0
  #lastAckAt: number | undefined
  #running: Promise<void> | undefined
  readonly #unwatch: readonly (() => void)[]

  constructor(options: LinkOptions) {
    const { name, timings, clock, ledger, outboxes } = options
    this.name = name
    this.#options = options
    this.#all = [ledger, ...outboxes]
    this.#size = new BatchSize({
      maxBytes: timings.batchMaxBytes,
      maxRecords: timings.batchMaxRecords,
      timeoutMs: timings.requestTimeoutMs,
    })
    this.#suspects = new Suspects(timings.poisonWaitMs)
    this.#backoff = new Backoff({ initialMs: timings.reconnectInitialMs, maxMs: timings.reconnectMaxMs })
    this.#state = { state: 'connecting', since: clock.now() }
    this.#unwatch = this.#all.map(outbox => outbox.log.onAppend(() => this.#wake()))
    if (options.isOnline === false) this.setOnline(false)
    options.connector.onLost?.(() => this.#wake())
  }

  get state(): LinkState {
    return this.#state
  }

  /** False while it is cut on purpose. */
  get isOnline(): boolean {
    return this.#isOnline
  }

  get counts(): LinkCounts {
    return {
      sentRecords: this.#sentRecords,
      rejectedRecords: this.#rejectedRecords,
      lastAckAt: this.#lastAckAt,
      recordsPerS: this.#size.recordsPerS,
    }
  }

  /** Cuts the link or lets it connect again at once. */
  setOnline(online: boolean): void {
    if (online === this.#isOnline) return
    this.#isOnline = online
    if (online) this.#cut = new AbortController()
    else this.#cut.abort()
    if (!online) this.#to({ state: 'cut', since: this.#now() })
    this.#backoff.held()
    this.#wake()
  }

  /** Sends until `signal` aborts or the link is stopped. Rejects only by a defect. */
  run(signal: AbortSignal): Promise<void> {
    this.#running ??= this.#loop(AbortSignal.any([signal, this.#stop.signal]))
    return this.#running
  }

  /** Takes no new batch; what is in flight has `graceMs`. A link that does not stand ends at once (D7). */
  async drain(graceMs: number): Promise<void> {
    this.#draining.abort()
    this.#wake()
    const cancel = this.#options.clock.after(graceMs, () => this.#stop.abort())
    await this.#running
    cancel()
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    for (const unwatch of this.#unwatch) unwatch()
    for (const outbox of this.#all) outbox.close()
    await this.#running
    this.#options.connector.close()
    await Promise.all(this.#all.map(outbox => outbox.settled()))
  }

  async #loop(stop: AbortSignal): Promise<void> {
    while (!stop.aborted && !this.#isDraining) {
      if (!this.#isOnline) {
        await this.#idle(Number.POSITIVE_INFINITY, stop)
        continue
      }
      const signal = AbortSignal.any([stop, this.#cut.signal])
      const ending = await this.#session(signal).catch(error => this.#broken(error))
      for (const outbox of this.#all) outbox.rewind()
      this.#options.connector.reset()
      if (!signal.aborted && !this.#isDraining) await this.#pause(ending, signal)
    }
    this.#to({ state: 'stopped', since: this.#now() })
  }

  async #session(signal: AbortSignal): Promise<Ending> {
    const { clock, timings, logger, store } = this.#options
    this.#to({ state: 'connecting', since: this.#now() })
    const numbers = await this.#ask(AbortSignal.any([signal, this.#draining.signal]))
    if (numbers.type !== 'numbers' && numbers.type !== 'unsupported') return this.#ending(numbers)
    if (signal.aborted) return ended
    const outboxes = this.#all
    if (numbers.type === 'numbers') await reconcile(numbers.numbers, { store, logger, outboxes })
    const since = clock.monotonic()
    this.#refusals = 0
    this.#to({ state: 'connected', since: this.#now() })
    try {
      return await this.#send(signal)
    } finally {
      if (clock.monotonic() - since >= timings.heldMs) this.#backoff.held()
    }
  }

  /** Sends batch after batch until the session ends. */
  async #send(signal: AbortSignal): Promise<Ending> {
    const { clock, connector } = this.#options
    let work: Work | undefined
    while (!signal.aborted && !this.#isDraining) {
      work ??= await this.#prepare(undefined, signal)
      if (work === undefined) {
        const ending = await this.#rest(signal)
        if (ending !== undefined) return ending
        continue
      }
      const { outbox, encoded } = work
      const started = clock.monotonic()
      const timeoutMs = this.#size.timeoutMs(encoded.bytes)
      const progress = this.#progress(outbox, encoded.batch)
      const sending = connector.send(encoded, { signal, timeoutMs, progress: progress.note })
      const [outcome, next] = await Promise.all([sending, this.#prepare(outbox, signal)])
      work = next
      if (outcome.type === 'acknowledged') {
        this.#size.acknowledged(encoded.bytes, encoded.batch.records.length, clock.monotonic() - started)
        await progress.note(encoded.batch.records.length)
        continue
      }
      work = undefined
      if (signal.aborted) return ended
      if (outcome.type !== 'rejected') return this.#ending(outcome)
      for (const each of this.#all) each.rewind()
      const refused = await this.#rejected(outbox, part(encoded.batch, outcome.suspects), outcome.reason)
      if (refused !== undefined) return refused
    }
    return ended
  }

  /** The next batch, encoded. While one of `inFlight` is under way its checkpoint must not move. */
  async #prepare(inFlight: Outbox | undefined, signal: AbortSignal): Promise<Work | undefined> {
    const { clock, connector, ledger } = this.#options
    const now = clock.monotonic()
    if (this.#isDraining) return undefined
    let outbox = this.#turns.next(this.#all, candidate => this.#suspects.isWaiting(candidate, now))
    if (outbox === undefined) return undefined
    let prepared = await outbox.prepare(this.#limits(outbox), outbox === inFlight, signal)
    if (prepared !== undefined && prepared.ledgerTo > ledger.low) {
      // A ledger entry precedes the first record after the gap that it explains.
      outbox.rewind()
      if (ledger === inFlight || this.#suspects.isWaiting(ledger, now)) return undefined
      outbox = ledger
      prepared = await ledger.prepare(this.#limits(ledger), false, signal)
    }
    if (prepared === undefined) return undefined
    this.#turns.charge(outbox, prepared.batch.bytes)
    return { outbox, encoded: connector.encode(prepared.batch) }
  }

  #limits(outbox: Outbox): { maxRecords: number; maxBytes: number } {
    const { maxBytes, maxRecords } = this.#size
    return { maxBytes, maxRecords: this.#suspects.maxRecords(outbox, maxRecords) }
  }

  /** D3: takes note of acknowledged records, counted from the first of the batch. */
  #progress(outbox: Outbox, { records, to }: OutgoingBatch): { note: (count: number) => Promise<void> } {
    let known = 0
    return {
      note: async count => {
        const last = records[count - 1]
        if (last === undefined || count <= known) return
        this.#sentRecords += count - known
        this.#lastAckAt = this.#now()
        known = count
        const next = count === records.length ? to : last.offset + 1
        this.#suspects.acknowledged(outbox, next)
        await outbox.acknowledge(next, last.epoch)
      },
    }
  }

  async #rejected(outbox: Outbox, batch: OutgoingBatch, reason: string): Promise<Ending | undefined> {
    const { clock, logger } = this.#options
    const verdict = this.#suspects.rejected(outbox, batch, clock.monotonic())
    const record = batch.records[0]
    if (verdict === 'refuse') return { type: 'refused', reason }
    if (verdict !== 'bury' || record === undefined) return undefined
    logger.warn(
      { uplink: this.name, log: batch.log, offset: record.offset, reason },
      'the receiver rejects a record',
    )
    this.#rejectedRecords += 1
    await outbox.bury(record, reason)
    return undefined
  }

  /** Nothing to send: waits for a record; after `probeMs` asks whether the receiver is still there. */
  async #rest(signal: AbortSignal): Promise<Ending | undefined> {
    const { clock, connector, timings } = this.#options
    const now = clock.monotonic()
    const isWaiting = (outbox: Outbox) => this.#suspects.isWaiting(outbox, now)
    if (this.#turns.next(this.#all, isWaiting) !== undefined) {
      // There are records and yet no batch: the disk is slow or closing. Not in a tight loop.
      await sleep(clock, timings.unreadyMs, signal)
      return undefined
    }
    const waitMs = this.#suspects.waitMs(now, timings.probeMs)
    const woken = connector.lost !== undefined || (await this.#idle(waitMs, signal))
    if (signal.aborted) return undefined
    // A connection that is gone is told by the next question.
    if (connector.lost === undefined && (woken || waitMs < timings.probeMs)) return undefined
    const answer = await this.#ask(signal)
    return answer.type === 'numbers' || answer.type === 'unsupported' ? undefined : this.#ending(answer)
  }

  async #ask(signal: AbortSignal): Promise<NumbersOutcome> {
    const { connector, store, logger, timings } = this.#options
    const options = { store, logger, outboxes: this.#all }
    const logs = this.#all.map(outbox => outbox.key)
    const sending = { signal, timeoutMs: timings.requestTimeoutMs }
    const answer = await connector.numbers(logs, await epochsToAsk(options), sending)
    const others = answer.type === 'numbers' ? strangers(answer.numbers, options) : []
    if (answer.type !== 'numbers' || others.length === 0) return answer
    const more = await connector.numbers(logs, others, sending)
    return more.type === 'numbers' ? { ...more, numbers: [...answer.numbers, ...more.numbers] } : more
  }

  #ending(
    outcome: Exclude<SendOutcome | NumbersOutcome, { type: 'acknowledged' | 'numbers' | 'unsupported' }>,
  ): Ending {
    if (outcome.type === 'timeout') this.#size.timedOut()
    if (outcome.type === 'refused' || outcome.type === 'rejected')
      return { type: 'refused', reason: outcome.reason }
    const retryAfterMs = outcome.type === 'retryable' ? (outcome.retryAfterMs ?? 0) : 0
    return { type: 'offline', reason: outcome.reason, retryAfterMs }
  }

  /** A defect of ours or a store that closes must not end the daemon: shown, and tried again. */
  #broken(error: unknown): Ending {
    const { message, code } = asFescueError(error)
    if (!this.#stop.signal.aborted)
      this.#options.logger.error({ uplink: this.name, err: error }, 'the link broke')
    return { type: 'offline', reason: `${code}: ${message}`, retryAfterMs: 0 }
  }

  async #pause(ending: Ending, signal: AbortSignal): Promise<void> {
    const { clock, timings } = this.#options
    if (ending.type === 'ended') return
    const refused = ending.type === 'refused'
    const waitMs = refused ? this.#refusedMs(timings) : Math.max(this.#backoff.nextMs(), ending.retryAfterMs)
    const since = this.#now()
    this.#to({ state: ending.type, since, reason: ending.reason, retryAt: Math.round(since + waitMs) })
    await sleep(clock, waitMs, AbortSignal.any([signal, this.#draining.signal]))
  }

  get #isDraining(): boolean {
    return this.#draining.signal.aborted
  }

  /** Doubles from `refusedInitialMs`, with jitter in its upper half: wrong credentials seldom mend themselves. */
  #refusedMs({ refusedInitialMs, refusedMaxMs }: Timings): number {
    const ceiling = Math.min(refusedMaxMs, refusedInitialMs * 2 ** Math.min(this.#refusals, 20))
    this.#refusals += 1
    return ceiling * (0.5 + Math.random() / 2)
  }

  /** Waits for a wake-up; true when there was one. */
  #idle(ms: number, signal: AbortSignal): Promise<boolean> {
    return new Promise(resolve => {
      const finish = (woken: boolean) => {
        cancel()
        signal.removeEventListener('abort', aborted)
        this.#wake = () => {}
        resolve(woken)
      }
      const aborted = () => finish(false)
      const cancel = this.#options.clock.after(ms, () => finish(false))
      this.#wake = () => finish(true)
      if (signal.aborted) finish(false)
      else signal.addEventListener('abort', aborted, { once: true })
    })
  }

  #to(state: LinkState): void {
    this.#state = state
    const told = `${state.state} ${'reason' in state ? state.reason : ''}`
    if (state.state === 'connecting' || told === this.#told) return
    this.#told = told
    const fields = { uplink: this.name, ...state }
    if (state.state === 'refused') this.#options.logger.warn(fields, 'uplink refused')
    else this.#options.logger.info(fields, `uplink ${state.state}`)
  }

  #now(): number {
    return this.#options.clock.now()
  }
}
