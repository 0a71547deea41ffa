/**
 * Drives one function: gives items to lanes, looks at what each entry left behind, and says how a run ended.
 *
 *   add(items) ─► pump ─► lane.run ─► ended entry ─► release records ─┬─► paused: next · pending: wait · nothing pending: drained
 *                  ▲                                                 ├─► chunk done ─► pump
 *                  └──────────────── fresh context ◄─────────────────┴─► failure, deadline, lost isolate ─► end
 *
 * Records leave only when their entry ended well: a rejection that nobody handled shows at its end. If one item ran in
 * the entry, that item is charged; if several did, what they wrote is thrown away and they run again one by one in a
 * fresh context, so that the rejection finds its owner. What a disposed isolate had finished is kept.
 */
import type { EndedBody, ErrorBody, ProgressBody, WireSpec } from '#base/wire/executor-protocol.ts'
import { decodeItems, type IsolateItems, partOfItems } from '#base/wire/items.ts'
import { type Answer, Flight, worstOf } from './flight.ts'
import { FunctionIsolate } from './function-isolate.ts'
import type { Lane } from './lane.ts'
import { lossEnd, unhandledRejection } from './outcome.ts'
import { involved, walkRecords } from './record-walk.ts'
import { itemsFor, newRun, type Run, type RunServices } from './run.ts'
import { SideBySide } from './side-by-side.ts'

type End = EndedBody['end']
/** Milliseconds after its deadline at which a thread that still computes will not let go. */
const salvageMs = 100
/** Milliseconds that items beside a failed one may take to finish; later ones run again, uncharged. */
const landMaxMs = 100
/** Milliseconds that a dropped isolate may go on computing; at a deadline the daemon looks sooner. */
const stuckMs = 1000

export class FunctionRun {
  readonly #services: RunServices
  readonly #spec: WireSpec
  readonly #isolate: FunctionIsolate
  readonly #sideBySide: SideBySide | undefined
  #idle: Lane[] = []
  /** The lane on its way; a later one takes its place when the isolate was dropped. */
  #opening: object | undefined
  #broken: ErrorBody | undefined
  #closed = false
  #run: Run | undefined
  readonly #flights = new Set<Flight>()
  /** Flights whose entry is under way, in the order in which the isolate runs them. */
  #entered: Flight[] = []
  #watchedAt = 0

  constructor(services: RunServices, spec: WireSpec) {
    this.#services = services
    this.#spec = spec
    this.#isolate = new FunctionIsolate({ ...services, flooded: lane => this.#flooded(lane) }, spec)
    this.#sideBySide = spec.concurrency > 1 ? new SideBySide() : undefined
  }

  get running(): boolean {
    return this.#run !== undefined
  }

  /** Items of the current run, or the first of a new one. */
  add(body: Buffer): void {
    const items = decodeItems(body, this.#spec.payload)
    if (this.#run === undefined) {
      if (items.first !== 0) return // Of a run that has ended.
      this.#run = newRun(items.run, this.#spec.payload)
      this.#watchedAt = performance.now()
      this.#sideBySide?.begin()
    }
    if (items.run !== this.#run.run) return
    this.#run.queue.add(items)
    this.#run.complete = items.last
    this.pump()
  }

  /** Starts what can be started. */
  pump(): void {
    const run = this.#run
    // What a dropped isolate leaves is settled first: see `#lost`.
    if (run === undefined || this.#closed || this.#doomed !== undefined) return
    const broken = this.#broken
    if (broken !== undefined) {
      // The next run tries to load again: a slow start may have been the box's fault.
      this.#broken = undefined
      this.#end({ kind: 'broken', error: broken })
      return
    }
    if (run.failure !== undefined) {
      if (this.#flights.size === 0) this.#end({ kind: 'failed', ...run.failure })
      return
    }
    while (this.#services.ready()) {
      const lane = this.#idle[0]
      if (lane === undefined) {
        if (!run.queue.empty && this.#flights.size < this.#spec.concurrency && this.#mayStart())
          this.#openLane()
        break
      }
      const items = this.#mayStart() ? itemsFor(run, this.#sideBySide) : undefined
      if (items === undefined) break
      this.#idle.shift()
      this.#start(lane, items)
    }
    if (this.#flights.size === 0 && run.queue.empty && run.complete) this.#end({ kind: 'done' })
  }

  readonly #mayStart = (): boolean => this.#sideBySide?.mayStart(this.#flights.size) ?? true

  #openLane(): void {
    if (this.#opening !== undefined) return
    const opening = {}
    this.#opening = opening
    void this.#isolate.openLane().then(opened => {
      if (this.#opening === opening) this.#opening = undefined
      if (this.#closed) return
      if (opened.kind === 'broken') this.#broken = opened.error
      else if (opened.kind === 'open') {
        const { parts } = walkRecords(opened.lane.take(), 0)
        if (this.#run !== undefined && parts.length > 0) this.#services.records(this.#run.run, parts)
        this.#idle.push(opened.lane)
      }
      this.pump()
    })
  }

  #start(lane: Lane, items: IsolateItems): void {
    const flight = new Flight(lane, items, this.#sideBySide?.snapshot() ?? 0)
    this.#flights.add(flight)
    const stale = this.#sideBySide?.start(lane, items) ?? ''
    // The isolate takes the buffers for itself; the run may need the items again.
    this.#enter(flight, lane.run(items.text, items.numbers.slice(0), items.raw.slice(0), items.first, stale))
  }

  #enter(flight: Flight, entry: Promise<void>): void {
    flight.enteredAt = performance.now()
    flight.stopTimer()
    this.#entered.push(flight)
    entry.then(
      () => this.#ended(flight, undefined),
      error => this.#ended(flight, { error }),
    )
  }

  #ended(flight: Flight, failure: { error: unknown } | undefined): void {
    this.#entered = this.#entered.filter(each => each !== flight)
    if (!this.#flights.has(flight)) return
    const doomed = this.#doomed
    if (doomed !== undefined && doomed !== flight && doomed.lane.busy) return
    if (failure === undefined && doomed === flight && flight.lane.current < 0) this.#endedInTime(flight)
    else if (doomed !== undefined) this.#lost(flight, failure?.error)
    else if (failure === undefined) this.#entryEnded(flight)
    else if (this.#isolate.present) this.#rejected(flight, failure.error)
    else this.#lost(flight, failure.error)
  }

  /** The flight for whose sake the isolate was dropped, until the run ends for it. */
  get #doomed(): Flight | undefined {
    for (const flight of this.#flights) if (flight.fate.kind !== 'none') return flight
    return undefined
  }

  /** The entry had ended well when its isolate was dropped: its results count, and the rest runs again. */
  #endedInTime(flight: Flight): void {
    const failure = this.#sideBySide === undefined ? this.#release(flight).failure : undefined
    this.#end(failure === undefined ? { kind: 'returned' } : { kind: 'failed', ...failure })
  }

  #release(flight: Flight): ReturnType<typeof walkRecords> {
    const walked = walkRecords(flight.lane.take(), performance.now() - flight.enteredAt)
    flight.released += walked.results
    if (this.#run !== undefined && walked.parts.length > 0)
      this.#services.records(this.#run.run, walked.parts)
    return walked
  }

  #entryEnded(flight: Flight): void {
    const { lane } = flight
    if (this.#sideBySide !== undefined) {
      const verdict = this.#sideBySide.look(flight, performance.now() - flight.enteredAt)
      if (this.#run !== undefined && verdict.parts.length > 0)
        this.#services.records(this.#run.run, verdict.parts)
      if (verdict.kind === 'failed') {
        this.#failedBeside(flight, { index: verdict.index, error: verdict.error })
        return
      }
      if (verdict.kind === 'again') this.#run?.queue.putBack(flight.items)
      if (verdict.kind !== 'pending') {
        this.#landed(flight)
        return
      }
    } else {
      const { failure } = this.#release(flight)
      if (failure !== undefined) {
        this.#end({ kind: 'failed', ...failure })
        return
      }
      if (lane.current < 0 && lane.left === 0) {
        this.#landed(flight)
        return
      }
    }
    this.#goOn(flight)
  }

  /** Its context is lost. Others may finish what they have in hand, nothing new starts, then the run ends. */
  #failedBeside(flight: Flight, failure: NonNullable<Run['failure']>): void {
    const run = this.#run
    if (run !== undefined && run.failure === undefined) {
      run.failure = failure
      setTimeout(() => run === this.#run && this.#end({ kind: 'failed', ...failure }), landMaxMs)
    }
    this.#flights.delete(flight)
    this.#sideBySide?.land(flight)
    flight.lane.close()
    this.pump()
  }

  /** The lane has more to do: after a pause, an answer, a timer, or never. */
  #goOn(flight: Flight): void {
    const { lane } = flight
    if (lane.busy) return
    const answer = flight.answers.shift()
    if (answer !== undefined)
      this.#enter(flight, lane.enter('answer', answer.call, answer.found, answer.text))
    else if (lane.paused) {
      if (this.#services.ready()) this.#enter(flight, lane.enter('next'))
    } else if (lane.wakeAt !== Infinity)
      flight.wakeLater(lane.wakeAt - Date.now(), () => {
        if (this.#flights.has(flight) && !lane.busy) this.#enter(flight, lane.enter('wake'))
      })
    else if (lane.calls === 0) this.#enter(flight, lane.enter('drained'))
  }

  #landed(flight: Flight): void {
    flight.stopTimer()
    this.#flights.delete(flight)
    this.#sideBySide?.land(flight)
    this.#idle.push(flight.lane)
    this.pump()
  }

  /** The daemon takes more again. */
  drained(): void {
    for (const flight of this.#flights) if (flight.lane.paused) this.#goOn(flight)
    this.pump()
  }

  /** The answer to a read of state by the item `index`. */
  answer(run: number, index: number, answer: Answer): void {
    if (run !== this.#run?.run) return
    for (const flight of this.#flights) {
      if (flight.lane.current !== index) continue
      flight.answers.push(answer)
      flight.stopTimer()
      this.#goOn(flight)
    }
  }

  /** A rejection that nobody handled ended the entry. */
  #rejected(flight: Flight, reason: unknown): void {
    const run = this.#run
    if (run === undefined) return
    const walked = walkRecords(flight.lane.take(), 0, 'logs')
    const alone = involved(walked, flight.lane.current) <= 1
    if (this.#sideBySide !== undefined || run.careful || alone) {
      this.#services.records(run.run, walked.parts)
      this.#end({ kind: 'failed', index: flight.nextIndex, error: unhandledRejection(reason) })
      return
    }
    this.#runCarefully(run, flight)
  }

  #runCarefully(run: Run, flight: Flight): void {
    run.careful = true
    run.queue.putBack(partOfItems(flight.items, flight.released, flight.items.count, this.#spec.payload))
    this.#flights.delete(flight)
    flight.lane.close()
    void this.#freshen()
  }

  /** The isolate is gone: by its deadline, its memory limit, or a flood of output. */
  #lost(flight: Flight, error: unknown): void {
    const run = this.#run
    if (run === undefined) return
    this.#isolate.dispose()
    const cause = this.#doomed ?? flight
    const { fate } = cause
    // Its time ran out with no item in the handler: a rejection of an item that had finished is to blame.
    const between = fate.kind === 'expired' && fate.index < 0
    const keep = between || this.#sideBySide !== undefined ? 'logs' : 'all'
    const walked = walkRecords(cause.lane.take(), 0, keep)
    if (between && walked.results > 1 && !run.careful) {
      this.#runCarefully(run, cause)
      return
    }
    this.#services.records(run.run, walked.parts)
    if (!between) cause.released += walked.results
    this.#end(lossEnd(cause, between, this.#spec, error))
  }

  #flooded(lane: Lane): void {
    for (const flight of this.#flights) if (flight.lane === lane) this.#giveUp(flight, { kind: 'flooded' })
  }

  #giveUp(flight: Flight, fate: Flight['fate']): void {
    if (flight.fate.kind !== 'none') return
    flight.fate = fate
    const { busy } = flight.lane
    this.#isolate.dispose()
    if (!busy && this.#entered.length === 0) {
      this.#lost(flight, undefined)
      return
    }
    // An entry that is under way rejects when its thread lets go. If it does not, the daemon will kill this
    // process: what was finished before goes out now.
    if (this.#sideBySide !== undefined || flight.lane.current < 0) return
    setTimeout(() => {
      if (this.#flights.has(flight)) this.#release(flight)
    }, salvageMs)
  }

  /** Ends the run; after anything but success nothing of its contexts is used again. */
  #end(end: End): void {
    const run = this.#run
    if (run === undefined) return
    this.#run = undefined
    const stuck = this.#entered.length > 0
    for (const flight of this.#flights) flight.stopTimer()
    if (end.kind !== 'done') {
      // Lanes that are idle beside a failure hold nothing that was not committed.
      const clean = run.failure !== undefined && !stuck ? this.#idle : []
      for (const lane of this.#idle) if (clean.length === 0) lane.close()
      this.#idle = []
      for (const flight of this.#flights) flight.lane.close()
      this.#flights.clear()
      if (stuck) this.#giveUpIsolate()
      else if (end.kind !== 'broken') void this.#freshen(clean)
    }
    const failed = run.failure && ({ kind: 'failed', ...run.failure } as const)
    this.#services.ended({ run: run.run, end: failed ?? end })
  }

  /** A new context in the same isolate, or a new isolate when its memory is too full. */
  async #freshen(clean: readonly Lane[] = []): Promise<void> {
    const opening = {}
    this.#opening = opening
    const reusable = await this.#isolate.reusable()
    // Meanwhile another run may have ended badly: then it is that one's turn.
    const mine = this.#opening === opening
    if (mine && reusable && !this.#closed) this.#idle.push(...clean)
    else for (const lane of clean) lane.close()
    if (!mine) return
    this.#opening = undefined
    if (!reusable) this.#isolate.dispose()
    if (this.#closed) return
    if (this.#isolate.present && this.#idle.length === 0) this.#openLane()
    else this.pump()
  }

  /** Drops the isolate while entries are under way: the process must end if they do not let go of their thread. */
  #giveUpIsolate(): void {
    const stuck = [...this.#entered]
    this.#isolate.dispose()
    if (stuck.length === 0) return
    setTimeout(() => {
      if (stuck.some(flight => this.#entered.includes(flight)))
        this.#services.catastrophe('an isolate that was dropped cannot be stopped')
    }, stuckMs)
  }

  /** Time passes: deadlines. Gives where the run stands, and whether that changed. */
  watch(now: number): (ProgressBody & { readonly moved: boolean }) | undefined {
    const head = this.#entered[0]
    const elapsedMs = now - this.#watchedAt
    this.#watchedAt = now
    // A further lane loads only when the computing one lets go of the thread: its time stands still too.
    const loadLeftMs = this.#isolate.watchLoad(now, head === undefined ? 0 : elapsedMs)
    const run = this.#run
    if (run === undefined) return undefined
    if (loadLeftMs !== undefined && head === undefined)
      return { run: run.run, index: -1, leftMs: loadLeftMs, moved: false }
    const worst = worstOf(this.#flights, head, elapsedMs, this.#spec.timeoutMs)
    for (const flight of worst.expired) this.#giveUp(flight, { kind: 'expired', index: flight.lane.current })
    return worst.progress && { run: run.run, ...worst.progress }
  }

  heapBytes(): Promise<number> {
    return this.#isolate.heapBytes()
  }

  /** Drops everything; a run in progress comes back. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    const run = this.#run
    this.#run = undefined
    for (const flight of this.#flights) flight.stopTimer()
    this.#flights.clear()
    this.#giveUpIsolate()
    this.#isolate.close()
    if (run !== undefined) this.#services.ended({ run: run.run, end: { kind: 'returned' } })
  }
}
