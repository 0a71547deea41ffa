/**
 * The trampoline: runs the items of a chunk, one after the other, and writes what comes of each.
 *
 *   run(chunk) ─► step ─► handler ─► settled ─► record ─► step …        all within one entry from the host,
 *   next() · answer(call) · wake()                                      microtasks included
 *
 * An entry lasts as long as its microtasks. After `sliceMs` of items the trampoline pauses and waits for
 * `next()`, because only between entries does the host learn of a rejection that nobody handled. The record of
 * a finished item is in shared memory before the next one starts.
 *
 * Work that a handler left behind without awaiting it runs on in microtasks. The next item waits some
 * of their rounds, in which publish and state refuse: what belongs to a message that is over is never added to another
 * (D2). Where such work has shown once, each item has an entry of its own, which no microtask outlives.
 *
 * The first failure ends the lane: the host discards this context, so that no module state survives (D2).
 */
import type { Chunk, TopicTexts } from './chunk.ts'
import { type ErrorDocument, errorDocument, makeError } from './error-document.ts'
import type { LogCredit } from './guest-console.ts'
import { type ContextSpec, HandlerContext } from './guest-context.ts'
import type { GuestState } from './guest-state.ts'
import type { GuestTimers } from './guest-timers.ts'
import { Invocation, loadIndex } from './invocation.ts'
import {
  jsonStringify,
  mapForEach,
  mapSize,
  NativeError,
  NativeTypeError,
  promiseResolve,
  promiseThen,
  realNow,
  reflectApply,
} from './natives.ts'
import type { Output } from './output.ts'
import type { Randomness } from './randomness.ts'
import type { RecordedClock } from './recorded-clock.ts'
import { wordCalls, wordCurrent, wordLeft, wordPaused } from './region.ts'

/** Real milliseconds of items after which the host gets its turn. */
export const sliceMs = 5
/**
 * Rounds of microtasks between two items of an entry, many for the first items of a context, so that a function that
 * leaves work behind is found out. The queue itself cannot be seen from here, and an entry for each item costs twenty times as much.
 */
const settleHops = 16
const trialHops = 64
const trialItems = 16
/** Characters of the JSON text that a handler may return. */
export const valueCharactersMax = 262_144

export type Handler = (event: unknown, context: unknown, callback: unknown) => unknown

/** What the trampoline works with; made by boot.ts. */
export interface TrampolineParts {
  readonly spec: ContextSpec
  readonly binary: boolean
  readonly memory: SharedArrayBuffer
  readonly output: Output
  readonly clock: RecordedClock
  readonly randomness: Randomness
  readonly timers: GuestTimers
  readonly log: LogCredit
  readonly topics: TopicTexts
}

export class Trampoline {
  readonly parts: TrampolineParts
  readonly #words: Int32Array
  #state: GuestState | undefined
  #handler: Handler | undefined
  #chunk: Chunk | undefined
  #current: Invocation | undefined
  #sliceEndsAt = 0
  #failed = false
  #stepping = false
  /** An item is over, and the next waits for what it left behind. */
  #settling = false
  #settledItems = 0
  /** Work that was left behind has asked for an effect. */
  #straggled = false

  constructor(parts: TrampolineParts) {
    this.parts = parts
    this.#words = new Int32Array(parts.memory, 0, 8)
  }

  start(state: GuestState, handler: Handler): void {
    this.#state = state
    this.#handler = handler
  }

  /** The invocation in the handler; throws outside of one. */
  current(): Invocation {
    if (this.#current === undefined) {
      this.#straggled = true
      throw new NativeTypeError(
        'publish and state can be used only while a handler runs: await them before it ends',
      )
    }
    return this.#current
  }

  /** Index that a log line of now belongs to. */
  get logIndex(): number {
    return this.#current?.index ?? loadIndex
  }

  /** The host calls: a chunk to run. */
  run(chunk: Chunk): void {
    this.#enter()
    this.#chunk = chunk
    // Before the first item: its slice may be over by then, and nothing left would mean that all is done.
    this.#words[wordLeft] = chunk.left
    this.#step()
  }

  /** The host calls: go on after a pause. */
  next(): void {
    this.#enter()
    this.#words[wordPaused] = 0
    this.#step()
  }

  /** The host calls: nothing is pending and the handler has not finished: by return or callback it never will. */
  drained(): void {
    this.#enter()
    const invocation = this.#current
    if (invocation?.waitsForCallback) this.#settled(invocation, false, undefined)
    else if (invocation !== undefined)
      this.#fail(
        invocation,
        makeError(
          'Runtime.NodeJsExit',
          'the promise of the handler can never settle: nothing is pending that could settle it',
        ),
      )
  }

  /** The host calls: the answer to a read of state. */
  answer(call: number, text: string | undefined): void {
    this.#enter()
    this.parts.clock.move()
    this.#state?.answer(call, text)
  }

  /** The host calls: a timer is due. */
  wake(): void {
    this.#enter()
    void this.#fireTimers()
  }

  /** One timer per microtask turn, so that what one sets in motion goes before the next. */
  async #fireTimers(): Promise<void> {
    const { timers, clock } = this.parts
    const realTime = clock.move()
    for (;;) {
      const invocation = this.#current
      if (invocation === undefined || this.#failed) return
      try {
        if (!timers.fireOne(realTime)) break
      } catch (error) {
        this.#fail(invocation, errorDocument(error))
      }
      await undefined
    }
  }

  /** `process.exit`: the invocation fails as when Lambda's runtime process exits. */
  exit(code: unknown): never {
    const invocation = this.#current
    if (invocation !== undefined)
      this.#fail(
        invocation,
        makeError(
          'Runtime.ExitError',
          `RequestId: ${invocation.id} Error: Runtime exited with error: exit status ${Number(code ?? 0)}`,
        ),
      )
    throw new NativeError('process.exit')
  }

  #enter(): void {
    this.parts.output.taken()
    this.#sliceEndsAt = realNow() + sliceMs
  }

  #step(): void {
    const chunk = this.#chunk
    // A handler that returns at once settles inside the loop, which then goes on by itself.
    if (chunk === undefined || this.#stepping) return
    this.#stepping = true
    while (chunk.left > 0 && !this.#failed && !this.#settling && this.#current === undefined) {
      const now = this.parts.clock.begin()
      if (now >= this.#sliceEndsAt) {
        this.#words[wordPaused] = 1
        break
      }
      this.#begin(chunk, now)
      this.#words[wordLeft] = chunk.left
    }
    this.#stepping = false
  }

  #begin(chunk: Chunk, now: number): void {
    const { binary, randomness, topics, spec, clock } = this.parts
    chunk.advance(binary)
    const invocation = new Invocation(chunk.index, chunk.text, chunk.idStart, chunk.idLength, {
      attempt: chunk.attempt,
      topic: chunk.topic(topics),
      time: chunk.time,
      flags: chunk.flags,
      startedAt: now,
    })
    this.#current = invocation
    this.#words[wordCurrent] = invocation.index + 1
    randomness.begin(invocation)
    const settle = (failed: boolean, value: unknown): void => this.#settled(invocation, failed, value)
    try {
      const event = binary ? chunk.bytes() : chunk.event()
      this.#call(invocation, event, new HandlerContext(spec, invocation, clock, settle), settle)
    } catch (error) {
      settle(true, error)
    }
  }

  #call(
    invocation: Invocation,
    event: unknown,
    context: HandlerContext,
    settle: (failed: boolean, value: unknown) => void,
  ): void {
    const callback = (error: unknown, result: unknown): void => context.done(error, result)
    const returned = reflectApply(this.#handler as Handler, undefined, [event, context, callback])
    if (
      typeof returned === 'object' &&
      returned !== null &&
      typeof (returned as { then?: unknown }).then === 'function'
    )
      void promiseThen(
        promiseResolve(returned),
        value => settle(false, value),
        error => settle(true, error),
      )
    else if (returned !== undefined) settle(false, returned)
    else if (
      this.parts.timers.pending === 0 &&
      this.#words[wordCalls] === 0 &&
      (this.#handler as Handler).length < 3
    )
      settle(false, undefined)
    else invocation.waitsForCallback = true
  }

  /** The first outcome counts; later ones, and those of an invocation that is over, are ignored. */
  #settled(invocation: Invocation, failed: boolean, value: unknown): void {
    if (this.#current !== invocation || this.#failed) return
    if (failed) {
      this.#fail(invocation, errorDocument(value))
      return
    }
    let text: unknown
    try {
      text = value === undefined ? 'null' : jsonStringify(value)
    } catch (error) {
      const { errorMessage, trace, traceLines } = errorDocument(error)
      const message = `Unable to stringify response body: ${errorMessage}`
      this.#fail(invocation, {
        errorType: 'Runtime.MarshalError',
        errorMessage: message,
        trace,
        traceLines,
      })
      return
    }
    // Whatever user code toJSON ran may have settled it another way.
    if (this.#current !== invocation) return
    // Functions and symbols have no JSON text; Lambda answers null for them.
    const json = typeof text === 'string' ? text : 'null'
    if (json.length > valueCharactersMax) {
      this.#fail(
        invocation,
        makeError(
          'Function.ResponseSizeTooLarge',
          `Response payload size exceeded maximum allowed payload size (${valueCharactersMax} bytes).`,
        ),
      )
      return
    }
    this.#succeed(invocation, json)
    if (this.#chunk !== undefined && this.#chunk.left > 0) void this.#settleDown()
  }

  /** Lets what the item left behind end, then goes on. Nothing that the function can replace is called. */
  async #settleDown(): Promise<void> {
    this.#settling = true
    const hops = this.#settledItems++ < trialItems ? trialHops : settleHops
    for (let hop = 0; hop < hops; hop++) await undefined
    this.#settling = false
    if (this.#straggled) this.#words[wordPaused] = 1
    else this.#step()
  }

  #succeed(invocation: Invocation, json: string): void {
    const { output, timers, log } = this.parts
    log.reportDropped()
    output.u8(1)
    output.u32(invocation.index)
    output.f64(invocation.startedAt)
    output.f64(realNow() - invocation.startedAt)
    output.text(json)
    output.u16(invocation.effectCount)
    for (let effect = invocation.firstEffect; effect !== undefined; effect = effect.next) {
      if (effect.type === 'publish') {
        output.u8(1)
        output.u8(effect.flags)
        output.text(effect.topic)
        if (effect.bytes === undefined) output.text(effect.text)
        else output.raw(effect.bytes, effect.bytes.length)
      } else {
        output.u8(effect.type === 'set' ? 2 : 3)
        output.text(effect.key)
        if (effect.type === 'set') output.text(effect.value)
      }
    }
    output.u16(invocation.reads === undefined ? 0 : mapSize(invocation.reads))
    if (invocation.reads !== undefined) mapForEach(invocation.reads, (_, key) => output.text(key as string))
    output.commit()
    timers.clearAll()
    this.#state?.settle(invocation)
    this.#end()
  }

  #end(): void {
    this.#current = undefined
    this.#words[wordCurrent] = 0
  }

  #fail(invocation: Invocation, error: ErrorDocument): void {
    if (this.#current !== invocation) return
    const { output, timers, log } = this.parts
    log.reportDropped()
    output.u8(2)
    output.u32(invocation.index)
    output.text(error.errorType)
    output.text(error.errorMessage)
    output.u8(error.traceLines)
    for (let i = 0; i < error.traceLines; i++) output.text(error.trace[i] ?? '')
    output.commit()
    this.#failed = true
    timers.clearAll()
    this.#end()
  }
}
