/**
 * A lane: one context of a function's isolate with the guest and the function's module in it, running one item at a time.
 *
 *   enter('run', chunk) ──► trampoline … ──► entry ends ──► take(): the records it wrote
 *
 * One entry at a time. All it wrote stands in memory shared with the isolate or was flushed here, so it can be
 * taken also when the isolate was disposed while the entry ran.
 */
import type ivm from 'isolated-vm'
import type { GuestEntries, GuestSpec } from '#guest/boot.ts'
import {
  recordsStart,
  regionBytes,
  wakeByte,
  wordCalls,
  wordCurrent,
  wordLeft,
  wordPaused,
  wordWritten,
} from '#guest/region.ts'
import { answerCall } from './bridge.ts'
import type { IsolatedVm } from './native.ts'

/** Bytes that one entry may write; an isolate that writes more is broken out of or a defect. */
export const entryBytesMax = 32 * 1024 * 1024

type EntryName = keyof GuestEntries

export interface LaneParts {
  readonly vm: IsolatedVm
  readonly isolate: ivm.Isolate
  /** The guest's text, compiled for this isolate. */
  readonly guest: ivm.Script
  /** The function's module, compiled for this isolate. */
  readonly module: ivm.Script
  readonly spec: GuestSpec
  readonly seedKey: string
  readonly buffer: string
  /** Memory to share with the context; no other context uses it now. */
  readonly memory: SharedArrayBuffer
  /** Nothing uses the memory any more. */
  released(memory: SharedArrayBuffer): void
  /** The lane wrote more than it may. */
  flooded(): void
}

export class Lane {
  readonly #parts: LaneParts
  readonly #words: Int32Array
  readonly #wake: Float64Array
  readonly #bytes: Buffer
  #context: ivm.Context | undefined
  #entries: ReadonlyMap<EntryName, ivm.Reference> = new Map()
  #flushed: Buffer[] = []
  #flushedBytes = 0
  /** An entry is under way. */
  busy = false

  constructor(parts: LaneParts) {
    this.#parts = parts
    this.#words = new Int32Array(parts.memory, 0, 8)
    this.#wake = new Float64Array(parts.memory, wakeByte, 1)
    this.#bytes = Buffer.from(parts.memory)
    this.#words.fill(0)
    this.#wake[0] = Infinity
  }

  /** Index in the batch of the item in the handler; -1 for none. */
  get current(): number {
    return (this.#words[wordCurrent] ?? 0) - 1
  }

  /** Items of the chunk that were not started. */
  get left(): number {
    return this.#words[wordLeft] ?? 0
  }

  /** Waits for `next`. */
  get paused(): boolean {
    return this.#words[wordPaused] === 1
  }

  /** Host calls without an answer. */
  get calls(): number {
    return this.#words[wordCalls] ?? 0
  }

  /** When the next timer is due, ms since the epoch; Infinity for never. */
  get wakeAt(): number {
    return this.#wake[0] ?? Infinity
  }

  /** Makes the context and runs the module: JSON of an error document when that fails. */
  async open(): Promise<string | undefined> {
    const { vm, isolate, guest, module, spec } = this.#parts
    this.busy = true
    try {
      const context = await isolate.createContext()
      this.#context = context
      const boot = (await guest.run(context, { reference: true })) as unknown as ivm.Reference
      const host = new vm.Callback(
        (name: unknown, a: unknown, b: unknown, c: unknown, d: unknown) =>
          answerCall(
            { vm, seedKey: this.#parts.seedKey, buffer: this.#parts.buffer, flush: this.#flush },
            name,
            a,
            b,
            c,
            d,
          ),
        { sync: true },
      )
      const memory = new vm.ExternalCopy(this.#parts.memory).copyInto({ release: true })
      const entries = (await boot.apply(undefined, [JSON.stringify(spec), memory, host], {
        result: { reference: true },
      })) as ivm.Reference
      const names: readonly EntryName[] = ['load', 'run', 'next', 'drained', 'answer', 'wake']
      this.#entries = new Map(
        names.map(name => [name, entries.getSync(name, { reference: true }) as ivm.Reference]),
      )
      const factory = (await module.run(context, { reference: true })) as unknown as ivm.Reference
      const load = this.#entries.get('load')
      return (await load?.apply(undefined, [factory.derefInto({ release: true })])) as string | undefined
    } finally {
      this.busy = false
    }
  }

  /** Runs an entry; settles when its microtasks are done, rejects when the isolate ends or a rejection was not handled. */
  async enter(name: EntryName, ...args: unknown[]): Promise<void> {
    this.busy = true
    try {
      await this.#entries.get(name)?.apply(undefined, args as never[])
    } finally {
      this.busy = false
    }
  }

  /** Gives a chunk to the trampoline. */
  run(text: string, numbers: ArrayBuffer, raw: ArrayBuffer, first: number, stale: string): Promise<void> {
    const { vm } = this.#parts
    const move = (buffer: ArrayBuffer) =>
      new vm.ExternalCopy(buffer, { transferOut: true }).copyInto({ transferIn: true, release: true })
    return this.enter('run', text, move(numbers), move(raw), first, stale)
  }

  readonly #flush = (written: number, field: string | ArrayBuffer | undefined): void => {
    if (written > 0 && written <= regionBytes - recordsStart)
      this.#keep(Buffer.from(this.#bytes.subarray(recordsStart, recordsStart + written)))
    if (field === undefined) return
    const bytes = typeof field === 'string' ? Buffer.from(field) : Buffer.from(field)
    const length = Buffer.allocUnsafe(4)
    length.writeUInt32LE(bytes.length, 0)
    this.#keep(length)
    this.#keep(bytes)
  }

  #keep(bytes: Buffer): void {
    this.#flushedBytes += bytes.length
    if (this.#flushedBytes > entryBytesMax) this.#parts.flooded()
    else this.#flushed.push(bytes)
  }

  /** The records written since the last call; the last may be cut short when the isolate ended meanwhile. */
  take(): Buffer {
    const written = this.#words[wordWritten] ?? 0
    if (written > 0 && written <= regionBytes - recordsStart)
      this.#flushed.push(Buffer.from(this.#bytes.subarray(recordsStart, recordsStart + written)))
    this.#words[wordWritten] = 0
    const all = this.#flushed
    this.#flushed = []
    this.#flushedBytes = 0
    return all.length === 1 && all[0] !== undefined ? all[0] : Buffer.concat(all)
  }

  /** Gives the context up. */
  close(): void {
    const { memory, released } = this.#parts
    if (this.#context !== undefined && !this.busy) released(memory)
    try {
      for (const entry of this.#entries.values()) entry.release()
      this.#context?.release()
    } catch {
      // The isolate is gone already.
    }
    this.#context = undefined
    this.#entries = new Map()
  }
}
