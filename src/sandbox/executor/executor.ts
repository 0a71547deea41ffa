/**
 * The executor: hosts functions for the daemon at the other end of the socket.
 *
 *   frames ─► Executor ─┬─► FunctionRun (one per function) ─► isolates
 *                       └─► every tick: deadlines; progress to the daemon where it changed
 *
 * Isolates are created one at a time, each after the daemon's word, which raises the process's memory limit for it.
 */
import type { Duplex } from 'node:stream'
import { FrameChannel } from '#base/wire/channel.ts'
import {
  type EndedBody,
  fromExecutor,
  jsonBody,
  type LoadedBody,
  type SetupBody,
  toExecutor,
  type WireSpec,
} from '#base/wire/executor-protocol.ts'
import type { Frame } from '#base/wire/frame.ts'
import { FunctionRun } from './function-run.ts'
import { GuestScript } from './guest-script.ts'
import type { IsolatedVm } from './native.ts'

/** How often deadlines are looked at. */
const tickMs = 10
/** Ticks between two reports of a heap. */
const heapTicks = 100
/** Bytes of records in a frame, unless one record has more. */
const recordsFrameBytes = 1_048_576

export interface ExecutorParts {
  readonly socket: Duplex
  readonly vm: IsolatedVm
  /** Ends the process at once: the socket ended, or an isolate cannot be stopped. */
  die(): void
}

interface Creation {
  readonly id: number
  readonly start: () => void
}

export class Executor {
  readonly #parts: ExecutorParts
  readonly #channel: FrameChannel
  readonly #functions = new Map<number, FunctionRun>()
  /** What the daemon knows of a function's run. */
  readonly #reported = new Map<number, { run: number; current: boolean }>()
  #setup: { readonly guest: GuestScript; readonly buffer: string } | undefined
  #creations: Creation[] = []
  #ticker: NodeJS.Timeout | undefined
  #ticks = 0

  constructor(parts: ExecutorParts) {
    this.#parts = parts
    this.#channel = new FrameChannel(parts.socket, {
      frame: frame => this.#take(frame),
      drained: () => {
        for (const run of this.#functions.values()) run.drained()
      },
      closed: () => parts.die(),
    })
    this.#channel.send(fromExecutor.ready, 0, jsonBody({ pid: process.pid }))
  }

  #take(frame: Frame): void {
    const run = this.#functions.get(frame.id)
    switch (frame.type) {
      case toExecutor.setup: {
        const { guest, buffer }: SetupBody = JSON.parse(frame.body.toString())
        this.#setup = { guest: new GuestScript(guest), buffer }
        return
      }
      case toExecutor.load:
        this.#load(frame.id, JSON.parse(frame.body.toString()))
        return
      case toExecutor.unload:
        run?.close()
        this.#functions.delete(frame.id)
        this.#reported.delete(frame.id)
        return
      case toExecutor.items:
        run?.add(frame.body)
        this.#tickOn()
        return
      case toExecutor.reply:
        this.#reply(run, frame.body)
        return
      case toExecutor.allowCreate:
        this.#creations[0]?.start()
        return
      default:
    }
  }

  /** Body: u32 run, u32 index, u32 call, u8 found, text. */
  #reply(run: FunctionRun | undefined, body: Buffer): void {
    run?.answer(body.readUInt32LE(0), body.readUInt32LE(4), {
      call: body.readUInt32LE(8),
      found: body[12] === 1,
      text: body.toString('utf8', 13),
    })
  }

  #load(id: number, spec: WireSpec): void {
    const { vm } = this.#parts
    const { guest, buffer } = this.#setup ?? {}
    if (guest === undefined || buffer === undefined) return
    const send = (type: number, body: object) => this.#channel.send(type, id, jsonBody(body))
    this.#functions.set(
      id,
      new FunctionRun(
        {
          vm,
          guest,
          buffer,
          ready: () => this.#channel.ready,
          allowCreate: () => this.#allowCreate(id),
          created: (coldStartMs, heapBytes) => {
            // In this order: the limit falls after this isolate, and rises again for the next.
            send(fromExecutor.loaded, { coldStartMs, heapBytes } satisfies LoadedBody)
            this.#created(id)
          },
          disposed: () => send(fromExecutor.disposed, {}),
          catastrophe: message => {
            send(fromExecutor.catastrophe, { message })
            this.#channel.flushNow()
            this.#parts.die()
          },
          records: (run, parts) => this.#sendRecords(id, run, parts),
          ended: (body: EndedBody) => send(fromExecutor.ended, body),
        },
        spec,
      ),
    )
  }

  #sendRecords(id: number, run: number, parts: readonly Buffer[]): void {
    const head = Buffer.allocUnsafe(4)
    head.writeUInt32LE(run, 0)
    let group: Buffer[] = []
    let bytes = 0
    for (const part of parts) {
      if (bytes > 0 && bytes + part.length > recordsFrameBytes) {
        this.#channel.send(fromExecutor.records, id, head, ...group)
        group = []
        bytes = 0
      }
      group.push(part)
      bytes += part.length
    }
    if (group.length > 0) this.#channel.send(fromExecutor.records, id, head, ...group)
  }

  #allowCreate(id: number): Promise<void> {
    return new Promise(resolve => {
      this.#creations.push({ id, start: resolve })
      if (this.#creations.length === 1) this.#askToCreate()
    })
  }

  #askToCreate(): void {
    const next = this.#creations[0]
    if (next !== undefined) this.#channel.send(fromExecutor.wantCreate, next.id)
  }

  #created(id: number): void {
    this.#creations = this.#creations.filter(creation => creation.id !== id)
    this.#askToCreate()
  }

  #tickOn(): void {
    this.#ticker ??= setInterval(() => this.#tick(), tickMs)
  }

  #tick(): void {
    const now = performance.now()
    this.#ticks++
    let running = false
    for (const [id, run] of this.#functions) {
      running ||= run.running
      this.#report(id, run.watch(now))
    }
    if (this.#ticks % heapTicks === 0) this.#reportHeaps()
    if (running) return
    clearInterval(this.#ticker)
    this.#ticker = undefined
  }

  /** Progress goes out every other tick, and only while the daemon's clock would be wrong without it. */
  #report(id: number, progress: ReturnType<FunctionRun['watch']>): void {
    if (progress === undefined) return
    const { moved, ...body } = progress
    const reported = this.#reported.get(id)
    const known = reported?.run === body.run
    const current = known && reported.current && !moved
    if (current) return
    if (known && this.#ticks % 2 === 0) {
      this.#reported.set(id, { run: body.run, current: false })
      return
    }
    this.#reported.set(id, { run: body.run, current: true })
    this.#channel.send(fromExecutor.progress, id, jsonBody(body))
  }

  #reportHeaps(): void {
    for (const [id, run] of this.#functions)
      void run
        .heapBytes()
        .then(heapBytes => this.#channel.send(fromExecutor.heap, id, jsonBody({ heapBytes })))
  }
}
