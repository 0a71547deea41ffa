/**
 * Two fences around an executor's memory, beside V8's own limit, which builtins and native memory pass by.
 *
 *  - a soft limit on the data segment (prlimit): lifted by one reservation while an isolate is created, since each
 *    reserves about 515 MB of address space, and set again to what is there plus headroom at every create and dispose;
 *  - the resident size, read from /proc while a batch runs.
 *
 * prlimit runs from a small shell that stays: forking the daemon, with all its memory, would stall it each time.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { Logger } from '#base/logger.ts'
import { findProgram } from './executor-command.ts'

/** Bytes of data that an executor may add to what it has after the last isolate was created. */
export const dataHeadroomBytes = 200 * 1024 * 1024
/** Bytes that the creation of an isolate may reserve. */
const reservationBytes = 1024 * 1024 * 1024
/** Limits that may wait for the shell. */
const waitingMax = 256
const pageBytes = 4096

/** `read` splits a line in pid and limit; the answer is prlimit's exit code. */
const script = 'while read -r pid limit; do "$0" --pid "$pid" --data="$limit": 2>/dev/null; echo $?; done'

export class MemoryFence {
  readonly #logger: Logger
  readonly #prlimit = findProgram('prlimit')
  #shell: ChildProcess | undefined
  #waiting: ((done: boolean) => void)[] = []
  #answers = ''
  #closed = false

  constructor(logger: Logger) {
    this.#logger = logger
    if (this.#prlimit === undefined)
      logger.warn(
        {},
        'prlimit is not installed: executors run without a limit on native memory (Debian package util-linux)',
      )
  }

  /** Raises the limit for one more isolate; resolves when that holds (or cannot be done). */
  lift(pid: number): Promise<boolean> {
    return this.#set(pid, dataHeadroomBytes + reservationBytes)
  }

  /** Sets the limit to what the process has now, plus headroom. */
  lower(pid: number): Promise<boolean> {
    return this.#set(pid, dataHeadroomBytes)
  }

  #set(pid: number, moreBytes: number): Promise<boolean> {
    const dataBytes = readDataBytes(pid)
    if (this.#closed || this.#prlimit === undefined || dataBytes === undefined) return Promise.resolve(false)
    if (this.#waiting.length >= waitingMax) return Promise.resolve(false)
    this.#shell ??= this.#start(this.#prlimit)
    this.#shell.stdin?.write(`${pid} ${dataBytes + moreBytes}\n`)
    return new Promise(resolve => this.#waiting.push(resolve))
  }

  #start(prlimit: string): ChildProcess {
    const shell = spawn('/bin/sh', ['-c', script, prlimit], {
      env: {},
      cwd: '/',
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    shell.stdout?.on('data', (chunk: Buffer) => this.#take(chunk.toString('latin1')))
    const lost = () => {
      if (this.#shell !== shell) return
      this.#shell = undefined
      const waiting = this.#waiting
      this.#waiting = []
      for (const resolve of waiting) resolve(false)
    }
    shell.on('error', error => {
      this.#logger.warn({ err: error }, 'the shell that sets memory limits failed')
      lost()
    })
    shell.on('exit', lost)
    shell.stdin?.on('error', lost)
    for (const handle of [shell, shell.stdin, shell.stdout]) (handle as { unref?(): void } | null)?.unref?.()
    return shell
  }

  #take(text: string): void {
    this.#answers += text
    for (let end = this.#answers.indexOf('\n'); end >= 0; end = this.#answers.indexOf('\n')) {
      const done = this.#answers.slice(0, end) === '0'
      this.#answers = this.#answers.slice(end + 1)
      this.#waiting.shift()?.(done)
    }
  }

  close(): void {
    this.#closed = true
    this.#shell?.stdin?.end()
    this.#shell?.kill('SIGKILL')
  }
}

/** VmData of a process; undefined when it is gone. */
export function readDataBytes(pid: number): number | undefined {
  try {
    const match = /^VmData:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))
    return match === null ? undefined : Number(match[1]) * 1024
  } catch {
    return undefined
  }
}

/** Resident bytes of a process; undefined when it is gone. */
export function readResidentBytes(pid: number): number | undefined {
  try {
    return Number(readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ')[1]) * pageBytes
  } catch {
    return undefined
  }
}
