/**
 * The endpoint's own LevelDB: records per device in order of arrival and the numbers, in one synced batch.
 *
 *   request ─┐
 *   request ─┼─► waiting ──► take: drop duplicates, move numbers ──► one synced batch ──► answers, then reads
 *   request ─┘      ▲ fills while the batch is under way
 *
 * One commit is under way at a time, and reads wait their turn in the same queue: so what a reader sees is on
 * disk. After a failed write LevelDB's log is not to be trusted: the database is opened anew, what is in
 * memory is thrown away and read again, and the requests get FESCUE_STORE_FAILED and come again.
 *
 *   d/DEVICE                   → counts            n/DEVICE/LOG.INCARNATION/EPOCH → a number
 *   r/DEVICE/INDEX (15 digits) → a block: one event a line, the first has that index
 */
import { Level } from 'level'
import type { Clock } from '#base/clock.ts'
import { FescueError } from '#base/errors.ts'
import type { Logger } from '#base/logger.ts'
import { Device, type DeviceState, type TakeResult } from './device.ts'
import type { IncomingEvent } from './event.ts'
import { LogNumber, type LogNumberState } from './log-number.ts'

/** Devices that one endpoint keeps. */
export const devicesMax = 10_000
/** Bytes of event text that one batch takes. */
const batchMaxBytes = 16 * 1024 * 1024

interface Ingest {
  readonly device: string
  readonly events: readonly IncomingEvent[]
  readonly bytes: number
  readonly settle: (result: TakeResult | FescueError) => void
}

type Put = { type: 'put'; key: string; value: string }

function blockKey(device: string, index: number): string {
  return `r/${device}/${String(index).padStart(15, '0')}`
}

/** Makes the database of a folder; a fault test puts its own in between. */
export type MakeDatabase = (folder: string) => Level<string, string>

export class Archive implements AsyncDisposable {
  readonly #make: () => Level<string, string>
  #db: Level<string, string>
  readonly #clock: Clock
  readonly #logger: Logger
  #devices = new Map<string, Device>()
  #waiting: Ingest[] = []
  #readers: ((error: FescueError | undefined) => void)[] = []
  /** Set while the database is closed because it could not be opened anew. */
  #broken: FescueError | undefined
  #busy: Promise<void> | undefined
  #closed = false

  private constructor(make: () => Level<string, string>, clock: Clock, logger: Logger) {
    this.#make = make
    this.#db = make()
    this.#clock = clock
    this.#logger = logger
  }

  /** Opens or creates. Errors: FESCUE_STORE_LOCKED, FESCUE_STORE_FAILED. */
  static async open(
    folder: string,
    clock: Clock,
    logger: Logger,
    make: MakeDatabase = location => new Level(location),
  ): Promise<Archive> {
    const archive = new Archive(() => make(folder), clock, logger)
    try {
      await archive.#db.open()
      await archive.#load()
    } catch (error) {
      await archive.#db.close().catch(() => {})
      const locked = error instanceof Error && (error.cause as { code?: string })?.code === 'LEVEL_LOCKED'
      throw locked
        ? new FescueError('FESCUE_STORE_LOCKED', `another process uses ${folder}`, { cause: error })
        : new FescueError('FESCUE_STORE_FAILED', `cannot open ${folder}`, { cause: error })
    }
    return archive
  }

  /** Keeps the events of one device. Resolves once they are safe against power loss. */
  ingest(device: string, events: readonly IncomingEvent[], bytes: number): Promise<TakeResult> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new FescueError('FESCUE_STOPPING', 'the endpoint is stopping'))
      const settle = (result: TakeResult | FescueError) =>
        result instanceof FescueError ? reject(result) : resolve(result)
      this.#waiting.push({ device, events, bytes, settle })
      this.#wake()
    })
  }

  /** Runs when no commit is under way: what it sees of the devices is on disk. */
  read<Result>(look: (devices: ReadonlyMap<string, Device>) => Result): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new FescueError('FESCUE_STOPPING', 'the endpoint is stopping'))
      this.#readers.push(error => (error === undefined ? resolve(look(this.#devices)) : reject(error)))
      this.#wake()
    })
  }

  /** Lines (one event each, as JSON) of a device above `after`, a block at a time. */
  async *records(device: string, after: number, limit: number): AsyncGenerator<readonly string[]> {
    const first = after + 1
    let index = await this.#blockStart(device, first)
    let left = limit
    const range = { gte: blockKey(device, index), lt: `r/${device}0` }
    for await (const block of this.#db.values(range)) {
      const lines = block.split('\n')
      const wanted = lines.slice(Math.max(0, first - index), Math.max(0, first - index) + left)
      index += lines.length
      if (wanted.length > 0) yield wanted
      left -= wanted.length
      if (left <= 0) return
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    await this.#busy
    await this.#db.close()
  }

  async #blockStart(device: string, index: number): Promise<number> {
    const options = { gte: `r/${device}/`, lte: blockKey(device, index), reverse: true, limit: 1 }
    for await (const key of this.#db.keys(options)) return Number(key.slice(key.lastIndexOf('/') + 1))
    return 0
  }

  #wake(): void {
    this.#busy ??= this.#work().finally(() => {
      this.#busy = undefined
      if (this.#waiting.length > 0 || this.#readers.length > 0) this.#wake()
    })
  }

  async #work(): Promise<void> {
    // A turn of the event loop lets requests that arrived together share one batch.
    await new Promise<void>(resolve => setImmediate(resolve))
    if (this.#broken !== undefined) await this.#reopen()
    while (this.#waiting.length > 0 || this.#readers.length > 0) {
      const group = this.#nextGroup()
      if (group.length > 0) await this.#commit(group)
      const readers = this.#readers
      this.#readers = []
      for (const reader of readers) reader(this.#broken)
    }
  }

  #nextGroup(): Ingest[] {
    let bytes = 0
    let count = 0
    for (const { bytes: more } of this.#waiting) {
      if (count > 0 && bytes + more > batchMaxBytes) break
      bytes += more
      count += 1
    }
    return this.#waiting.splice(0, count)
  }

  async #commit(group: readonly Ingest[]): Promise<void> {
    if (this.#broken !== undefined) {
      for (const ingest of group) ingest.settle(this.#broken)
      return
    }
    const results: [Ingest, TakeResult][] = []
    const lines = new Map<Device, { first: number; texts: string[] }>()
    const now = this.#clock.now()
    for (const ingest of group) {
      try {
        const device = this.#device(ingest.device)
        device.checkRoom(ingest.events)
        const block = lines.get(device) ?? { first: device.records, texts: [] }
        lines.set(device, block)
        results.push([ingest, device.take(ingest.events, now, block.texts)])
      } catch (error) {
        if (!(error instanceof FescueError)) throw error
        ingest.settle(error)
      }
    }
    try {
      await this.#db.batch(puts(lines), { sync: true })
    } catch (error) {
      this.#logger.error({ err: error }, 'a write failed: opening the database anew')
      const failure = new FescueError('FESCUE_STORE_FAILED', 'the disk took no records', { cause: error })
      await this.#reopen()
      for (const [ingest] of results) ingest.settle(failure)
      return
    }
    for (const [ingest, result] of results) ingest.settle(result)
  }

  #device(name: string): Device {
    let device = this.#devices.get(name)
    if (device === undefined) {
      if (this.#devices.size >= devicesMax)
        throw new FescueError('FESCUE_STORE_FULL', `the endpoint holds ${devicesMax} devices already`)
      device = new Device(name)
      this.#devices.set(name, device)
    }
    return device
  }

  /** Leaves `#broken` set when the disk does not let it; the next request tries again. */
  async #reopen(): Promise<void> {
    try {
      await this.#db.close()
      this.#db = this.#make()
      await this.#db.open()
      await this.#load()
      this.#broken = undefined
    } catch (error) {
      this.#broken = new FescueError('FESCUE_STORE_FAILED', 'the database cannot be opened', { cause: error })
      this.#logger.error({ err: error }, 'the database cannot be opened')
    }
  }

  async #load(): Promise<void> {
    const devices = new Map<string, Device>()
    for await (const [key, value] of this.#db.iterator({ gte: 'd/', lt: 'd0' })) {
      const name = key.slice(2)
      devices.set(name, new Device(name, JSON.parse(value) as DeviceState))
    }
    const numbers: { device: string; log: string; order: number; state: LogNumberState }[] = []
    for await (const [key, value] of this.#db.iterator({ gte: 'n/', lt: 'n0' })) {
      const [, device = '', log = ''] = key.split('/')
      const { order, ...state } = JSON.parse(value) as LogNumberState & { order: number }
      numbers.push({ device, log, order, state })
    }
    // Epochs of a log are asked in the order in which they were first seen; keys would sort them at random.
    numbers.sort((a, b) => a.order - b.order)
    for (const { device, log, state } of numbers)
      devices.get(device)?.restore(log, new LogNumber(state.epoch, state))
    this.#devices = devices
  }
}

function puts(lines: ReadonlyMap<Device, { first: number; texts: readonly string[] }>): Put[] {
  const operations: Put[] = []
  for (const [device, { first, texts }] of lines) {
    operations.push({ type: 'put', key: `d/${device.name}`, value: JSON.stringify(device.state()) })
    for (const { log, number, order } of device.takeChanges()) {
      const value = JSON.stringify({ ...number.state(), order })
      operations.push({ type: 'put', key: `n/${device.name}/${log}/${number.epoch}`, value })
    }
    if (texts.length > 0)
      operations.push({ type: 'put', key: blockKey(device.name, first), value: texts.join('\n') })
  }
  return operations
}
