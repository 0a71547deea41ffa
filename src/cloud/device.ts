/**
 * What the endpoint knows of one device: its numbers per log and epoch, and how many records it holds.
 *
 * `take` runs inside the archive's one commit at a time and changes the state in memory; the archive writes
 * what `takeChanges` gives in the same batch as the records, and loads the device anew when that fails.
 */
import { FescueError } from '#base/errors.ts'
import type { Epoch } from '#base/ids.ts'
import type { IncomingEvent, Loss } from './event.ts'
import { LogNumber, type LogNumberView } from './log-number.ts'

/** Numbers that one device may have: logs times epochs, one epoch a start of its daemon. */
export const numbersMax = 100_000

export interface DeviceState {
  /** Records kept; the `index` of the next one. */
  readonly records: number
  readonly lastSeenAt: number
}

export interface DeviceView {
  readonly device: string
  readonly records: number
  readonly duplicates: number
  readonly gaps: number
  readonly lost: number
  /** RFC 3339. */
  readonly lastSeenAt: string
  readonly logs: readonly LogNumberView[]
}

export interface TakeResult {
  readonly stored: number
  readonly duplicates: number
}

/** A number to write: which log it belongs to. */
export interface ChangedNumber {
  readonly log: string
  readonly number: LogNumber
  /** Rises with each new number of the device. */
  readonly order: number
}

export class Device {
  readonly name: string
  #records: number
  #lastSeenAt: number
  /** Epochs of each log in the order in which they were first seen. */
  readonly #logs = new Map<string, Map<Epoch, LogNumber>>()
  /** All numbers, with their order of appearance. */
  readonly #orders = new Map<LogNumber, number>()
  readonly #changed = new Map<LogNumber, string>()

  constructor(name: string, state: DeviceState = { records: 0, lastSeenAt: 0 }) {
    this.name = name
    this.#records = state.records
    this.#lastSeenAt = state.lastSeenAt
  }

  get records(): number {
    return this.#records
  }

  state(): DeviceState {
    return { records: this.#records, lastSeenAt: this.#lastSeenAt }
  }

  /** Puts back a number that was read from disk; call in the order of their `order`. */
  restore(log: string, number: LogNumber): void {
    this.#epochsOf(log).set(number.epoch, number)
    this.#orders.set(number, this.#orders.size)
  }

  /** Throws FESCUE_STORE_FULL when the events would pass `numbersMax`; nothing is taken then. */
  checkRoom(events: readonly IncomingEvent[]): void {
    if (this.#orders.size + events.length <= numbersMax) return
    const fresh = new Set<string>()
    for (const { log, epoch } of events) {
      if (!this.#logs.get(log)?.has(epoch)) fresh.add(`${epoch}/${log}`)
    }
    if (this.#orders.size + fresh.size > numbersMax)
      throw new FescueError('FESCUE_STORE_FULL', `device ${this.name} has ${numbersMax} logs already`)
  }

  /** Applies events in order; the texts of the new ones, with their index, are added to `lines`. */
  take(events: readonly IncomingEvent[], now: number, lines: string[]): TakeResult {
    let number: LogNumber | undefined
    let log = ''
    let stored = 0
    for (const event of events) {
      if (number === undefined || event.log !== log || event.epoch !== number.epoch) {
        log = event.log
        number = this.#number(log, event.epoch)
        this.#changed.set(number, log)
      }
      if (event.base !== undefined) this.#begin(log, number, event.base, event.after)
      if (!number.take(event.offset, event.messageId)) continue
      lines.push(`${event.text.slice(0, -1)},"index":${this.#records}}`)
      this.#records += 1
      stored += 1
      if (event.loss !== undefined) this.#explain(event.loss)
    }
    this.#lastSeenAt = now
    return { stored, duplicates: events.length - stored }
  }

  /** Numbers changed since the last call. */
  takeChanges(): ChangedNumber[] {
    const changes = [...this.#changed].map(([number, log]) => ({
      log,
      number,
      order: this.#orders.get(number) ?? 0,
    }))
    this.#changed.clear()
    return changes
  }

  /** Numbers of these `log.incarnation` and epochs; an empty list means all. */
  numbers(logs: readonly string[], epochs: readonly Epoch[]): LogNumberView[] {
    const views: LogNumberView[] = []
    for (const log of logs.length === 0 ? this.#logs.keys() : logs) {
      for (const number of this.#logs.get(log)?.values() ?? []) {
        if (epochs.length === 0 || epochs.includes(number.epoch)) views.push(number.view(log))
      }
    }
    return views
  }

  view(logs: readonly string[] = [], epochs: readonly Epoch[] = []): DeviceView {
    let duplicates = 0
    let gaps = 0
    let lost = 0
    for (const epochs of this.#logs.values()) {
      for (const number of epochs.values()) {
        duplicates += number.duplicates
        gaps += number.gaps
        lost += number.lost
      }
    }
    return {
      device: this.name,
      records: this.#records,
      duplicates,
      gaps,
      lost,
      lastSeenAt: new Date(this.#lastSeenAt).toISOString(),
      logs: this.numbers(logs, epochs),
    }
  }

  #begin(log: string, number: LogNumber, base: number, after: Epoch | undefined): void {
    number.begin(base)
    const before = after === undefined ? undefined : this.#logs.get(log)?.get(after)
    if (before === undefined) return
    before.followedBy({ epoch: number.epoch, at: base })
    this.#changed.set(before, log)
  }

  /** An entry written in one epoch may speak of records of an earlier one that were still in the log. */
  #explain(loss: Loss): void {
    this.#number(loss.log, loss.epoch)
    for (const number of this.#epochsOf(loss.log).values()) {
      if (number.concernedBy(loss.from)) {
        number.explain(loss.from, loss.to)
        this.#changed.set(number, loss.log)
      }
      if (number.epoch === loss.epoch) break
    }
  }

  #number(log: string, epoch: Epoch): LogNumber {
    const epochs = this.#epochsOf(log)
    let number = epochs.get(epoch)
    if (number === undefined) {
      number = new LogNumber(epoch)
      epochs.set(epoch, number)
      this.#orders.set(number, this.#orders.size)
      this.#changed.set(number, log)
    }
    return number
  }

  #epochsOf(log: string): Map<Epoch, LogNumber> {
    let epochs = this.#logs.get(log)
    if (epochs === undefined) {
      epochs = new Map()
      this.#logs.set(log, epochs)
    }
    return epochs
  }
}
