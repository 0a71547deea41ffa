/**
 * An executor as the daemon sees it: the child process, the frames, and the clock that ends it.
 *
 *   load / run ─► frames ─► child          child ─► records, progress, ended ─► HostedRun of the function
 *   every `pollMs` while something runs: deadline passed and silent, or too much memory ─► SIGKILL
 *
 * The executor disposes an isolate at its deadline by itself; `graceMs` later this side kills the process, because
 * builtins and error getters cannot be stopped in any other way. Whatever breaks the protocol is killed too (D5).
 */
import { type ChildProcess, spawn } from 'node:child_process'
import type { Duplex, Readable } from 'node:stream'
import type { Clock } from '#base/clock.ts'
import type { Logger } from '#base/logger.ts'
import { FrameChannel } from '#base/wire/channel.ts'
import {
  type EndedBody,
  fromExecutor,
  jsonBody,
  type LoadedBody,
  type ProgressBody,
  parseEnded,
  parseHeap,
  parseLoaded,
  parseProgress,
  type SetupBody,
  toExecutor,
  type WireSpec,
} from '#base/wire/executor-protocol.ts'
import type { Frame } from '#base/wire/frame.ts'
import type { BatchRun, ReadRequest } from './batch-run.ts'
import { executorCommand } from './executor-command.ts'
import type { ExecutorFiles } from './executor-files.ts'
import { type MemoryFence, readResidentBytes } from './memory-fence.ts'
import { OverdueWatch, readCpuMs } from './overdue-watch.ts'
import type { FunctionSpec } from './sandbox.ts'

/** How often deadlines and memory are looked at while something runs. */
const pollMs = 50
/** Milliseconds that an executor may take to start and load a module before its first report. */
const startTimeoutDefaultMs = 20_000
/** Resident bytes of an executor without functions, with room for what builtins need for a moment. */
const residentHeadroomBytes = 192 * 1024 * 1024
/** How often an idle moment is used to look whether the process has grown to half of that. */
const grownLookMs = 1_000
/** Characters of an executor's last words that are kept. */
const stderrCharactersMax = 4096

/** Why an executor ended; `culprit` is the number of the function to blame, where that is certain. */
export interface Death {
  /** `killed`: a SIGKILL that is not ours, from an operator or the kernel's memory killer. */
  readonly reason: 'stopped' | 'exit' | 'killed' | 'deadline' | 'memory' | 'catastrophe' | 'protocol'
  readonly text: string
  readonly culprit: number | undefined
}

/** What a function loaded in an executor hears. */
export interface HostedEvents {
  loaded(body: LoadedBody): void
  heap(bytes: number): void
  /** The run that was started ended, as the executor says. */
  ended(body: EndedBody): void
}

interface Hosted {
  readonly events: HostedEvents
  readonly memoryBytes: number
  run: BatchRun | undefined
}

export interface ExecutorProcessParts {
  readonly clock: Clock
  readonly logger: Logger
  readonly fence: MemoryFence
  readonly files: ExecutorFiles
  readonly timeZone: string
  /** Milliseconds until the first report of a batch. */
  readonly startTimeoutMs?: number
  /** Resident bytes of a process; a test names its own. */
  readonly readResident?: (pid: number) => number | undefined
  /** Called once, after the process is gone. */
  died(death: Death): void
}

export class ExecutorProcess {
  readonly #parts: ExecutorProcessParts
  readonly #child: ChildProcess
  readonly #channel: FrameChannel
  readonly #hosted = new Map<number, Hosted>()
  /** An isolate is being created in it: see `disposed`. */
  #creating = false
  readonly startedAt: number
  #death: Death | undefined
  #grownLookAt = Number.NEGATIVE_INFINITY
  #gone = false
  #stderr = ''
  #cancelPoll: (() => void) | undefined
  readonly #overdue = new OverdueWatch()

  constructor(parts: ExecutorProcessParts) {
    this.#parts = parts
    this.startedAt = parts.clock.monotonic()
    const [program = '', ...args] = executorCommand(parts.files, parts.timeZone)
    this.#child = spawn(program, args, {
      cwd: '/',
      env: { TZ: parts.timeZone },
      stdio: ['pipe', 'ignore', 'pipe', 'pipe'],
    })
    this.#child.stdin?.on('error', () => {}) // Its end is told by `exit`.
    this.#child.stdin?.end(parts.files.program.kind === 'text' ? parts.files.program.text : undefined)
    this.#child.on('error', error => this.#exited(`it cannot be started: ${error.message}`, false))
    this.#child.on('exit', (code, signal) =>
      this.#exited(signal === null ? `exit code ${code}` : `signal ${signal}`, signal === 'SIGKILL'),
    )
    const stderr = this.#child.stdio[2] as Readable | null
    stderr?.on('data', (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString()).slice(-stderrCharactersMax)
    })
    this.#channel = new FrameChannel(this.#child.stdio[3] as Duplex, {
      frame: frame => this.#take(frame),
      drained: () => {
        for (const [id, hosted] of this.#hosted) if (hosted.run !== undefined) this.#sendItems(id, hosted.run)
      },
      closed: error => {
        if (error !== undefined && 'code' in error === false) this.#kill('protocol', error.message, undefined)
      },
    })
    const { guest, buffer } = parts.files
    this.#channel.send(toExecutor.setup, 0, jsonBody({ guest, buffer } satisfies SetupBody))
  }

  get pid(): number | undefined {
    return this.#gone ? undefined : this.#child.pid
  }

  /** Whether it can take work. */
  get alive(): boolean {
    return !this.#gone && this.#death === undefined
  }

  /** Functions loaded in it. */
  get size(): number {
    return this.#hosted.size
  }

  /** Numbers of the functions that have a batch in it. */
  runningIds(): number[] {
    return [...this.#hosted].filter(([, hosted]) => hosted.run !== undefined).map(([id]) => id)
  }

  load(id: number, spec: FunctionSpec, events: HostedEvents): void {
    this.#hosted.set(id, { events, memoryBytes: spec.memoryMiB * 1_048_576, run: undefined })
    const { isolation: _, timeZone: __, ...wire } = spec
    this.#channel.send(toExecutor.load, id, jsonBody(wire satisfies WireSpec))
  }

  unload(id: number): void {
    if (this.#hosted.delete(id)) this.#channel.send(toExecutor.unload, id)
  }

  /** Starts a batch of a loaded function. */
  run(id: number, run: BatchRun): void {
    const hosted = this.#hosted.get(id)
    if (hosted === undefined) return
    hosted.run = run
    run.startClock(this.#parts.clock.monotonic(), this.#parts.startTimeoutMs ?? startTimeoutDefaultMs)
    this.#sendItems(id, run)
    this.#pollOn()
  }

  #sendItems(id: number, run: BatchRun): void {
    for (const pieces of run.next()) {
      this.#channel.send(toExecutor.items, id, ...pieces)
      if (!this.#channel.ready) return
    }
  }

  #take(frame: Frame): void {
    if (this.#death !== undefined) return
    try {
      this.#handle(frame)
    } catch (error) {
      // A frame that cannot be read comes from an executor that was broken into.
      this.#kill('protocol', error instanceof Error ? error.message : String(error), undefined)
    }
  }

  #handle(frame: Frame): void {
    const { pid } = this
    if (pid === undefined) return
    const { fence } = this.#parts
    switch (frame.type) {
      case fromExecutor.ready:
        return
      case fromExecutor.wantCreate:
        this.#creating = true
        void fence.lift(pid).then(() => this.#channel.send(toExecutor.allowCreate, frame.id))
        return
      case fromExecutor.disposed:
        // While an isolate is being created the limit stays lifted: lowered under it, the process would abort.
        if (!this.#creating) void fence.lower(pid)
        return
      case fromExecutor.catastrophe:
        this.#kill('catastrophe', 'out of memory', frame.id)
        return
      default:
        this.#handleOf(frame, pid)
        return
    }
  }

  #handleOf(frame: Frame, pid: number): void {
    const hosted = this.#hosted.get(frame.id)
    if (frame.type === fromExecutor.loaded) {
      this.#creating = false
      void this.#parts.fence.lower(pid)
    }
    if (hosted === undefined) return
    switch (frame.type) {
      case fromExecutor.loaded:
        hosted.events.loaded(parseLoaded(frame.body))
        return
      case fromExecutor.heap:
        hosted.events.heap(parseHeap(frame.body))
        return
      case fromExecutor.records:
        this.#records(frame, hosted)
        return
      case fromExecutor.progress:
        this.#progress(parseProgress(frame.body), hosted)
        return
      case fromExecutor.ended:
        this.#runEnded(parseEnded(frame.body), hosted)
        return
      default:
        throw new Error(`a frame of type ${frame.type}`)
    }
  }

  #records(frame: Frame, hosted: Hosted): void {
    const { run } = hosted
    if (run === undefined || frame.body.readUInt32LE(0) !== run.number) return
    for (const read of run.take(frame.body)) this.#readState(frame.id, run, read)
    if (!run.ended) this.#sendItems(frame.id, run)
  }

  #readState(id: number, run: BatchRun, read: ReadRequest): void {
    run.readState(read).then(
      text => {
        const head = Buffer.allocUnsafe(13)
        head.writeUInt32LE(run.number, 0)
        head.writeUInt32LE(read.index, 4)
        head.writeUInt32LE(read.call, 8)
        head[12] = text === undefined ? 0 : 1
        this.#channel.send(toExecutor.reply, id, head, Buffer.from(text ?? ''))
      },
      error => {
        // Without its state the item cannot go on, and nobody is to blame: the batch comes back.
        this.#parts.logger.warn(
          { err: error, function: run.spec.name },
          'state could not be read: the batch comes back',
        )
        const hosted = this.#hosted.get(id)
        if (hosted?.run === run) hosted.events.ended({ run: run.number, end: { kind: 'returned' } })
      },
    )
  }

  #progress(body: ProgressBody, hosted: Hosted): void {
    const { run } = hosted
    if (run === undefined || run.number !== body.run) return
    run.progressed(this.#parts.clock.monotonic(), body.index, body.leftMs)
  }

  #runEnded(body: EndedBody, hosted: Hosted): void {
    const { run } = hosted
    if (run === undefined || run.number !== body.run) return
    run.checkEnd(body.end)
    hosted.run = undefined
    hosted.events.ended(body)
    // What a failed run allocated may not be free yet: the next function in here would be charged with it.
    if (body.end.kind !== 'done') this.#grownLookAt = Number.NEGATIVE_INFINITY
    this.#recycleIfGrown()
  }

  /**
   * Between runs a process that has grown is ended without blame: what isolates and contexts leave behind in it is
   * not the doing of the function that happens to run when the fence is reached.
   */
  #recycleIfGrown(): void {
    const now = this.#parts.clock.monotonic()
    if (now - this.#grownLookAt < grownLookMs || !this.alive) return
    for (const hosted of this.#hosted.values()) if (hosted.run !== undefined) return
    this.#grownLookAt = now
    const resident = this.#resident()
    if (resident !== undefined && resident > this.#residentLimit() - residentHeadroomBytes / 2) this.stop()
  }

  #resident(): number | undefined {
    const { readResident = readResidentBytes } = this.#parts
    return this.#child.pid === undefined ? undefined : readResident(this.#child.pid)
  }

  #residentLimit(): number {
    let limit = residentHeadroomBytes
    for (const hosted of this.#hosted.values()) limit += hosted.memoryBytes
    return limit
  }

  #pollOn(): void {
    this.#cancelPoll ??= this.#parts.clock.after(pollMs, () => {
      this.#cancelPoll = undefined
      this.#poll()
    })
  }

  #poll(): void {
    if (!this.alive) return
    const running = [...this.#hosted].filter(([, hosted]) => hosted.run !== undefined)
    if (running.length === 0) return
    const now = this.#parts.clock.monotonic()
    const late = running.find(([, hosted]) => (hosted.run?.killAt ?? Infinity) <= now)
    const cpuMs = () => (this.#child.pid === undefined ? undefined : readCpuMs(this.#child.pid))
    if (this.#overdue.isOver(late?.[1].run, now, cpuMs) && late !== undefined) {
      this.#kill('deadline', 'it did not stop at its deadline', late[0])
      return
    }
    const resident = this.#resident()
    const limit = this.#residentLimit()
    if (resident !== undefined && resident > limit) {
      this.#kill(
        'memory',
        `${Math.round(resident / 1_048_576)} MiB resident, limit ${Math.round(limit / 1_048_576)}`,
        undefined,
      )
      return
    }
    this.#pollOn()
  }

  #kill(reason: Death['reason'], text: string, culprit: number | undefined): void {
    this.#death ??= { reason, text, culprit }
    this.#child.kill('SIGKILL')
  }

  /** Ends it without blame; `died` follows. */
  stop(): void {
    this.#kill('stopped', 'stopped', undefined)
  }

  #exited(text: string, killed: boolean): void {
    if (this.#gone) return
    this.#gone = true
    this.#cancelPoll?.()
    const words = this.#stderr.trim()
    this.#parts.died(
      this.#death ?? {
        reason: killed ? 'killed' : 'exit',
        text: words === '' ? text : `${text}: ${words.slice(-500)}`,
        culprit: undefined,
      },
    )
  }
}
