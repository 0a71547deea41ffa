/**
 * A peer's process, started under the limits of a profile, and everything that it starts in turn. What is
 * started here is ended here, by its pid.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, readlinkSync } from 'node:fs'
import net from 'node:net'
import { basename } from 'node:path'
import { createInterface } from 'node:readline'
import { childrenOf } from '../test/harness/processes.ts'
import type { Profile } from './profile.ts'

export interface Launched extends AsyncDisposable {
  /** When it was started, by `performance.now()`. */
  readonly startedAt: number
  /** Resolves with the first line of its output that holds `text`; rejects with its output when it ends first. */
  line(text: string): Promise<string>
  /** Resolves once something listens on the port; rejects when it ends first. */
  listening(port: number): Promise<void>
  /** The program and its descendants, without the helpers that limit it. */
  pids(): number[]
}

const keptLines = 200
const stopMaxMs = 15_000
/** Programs of a profile's prefix that stay in the way of a signal. */
const helpers = new Set(['strace', 'taskset', 'sh', 'dash'])

export function launch(profile: Profile, command: readonly string[]): Launched {
  const [program = '', ...args] = [...profile.prefix, ...command]
  const startedAt = performance.now()
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE_OPTIONS: '' },
  })
  const lines: string[] = []
  const watchers = new Set<(line: string) => void>()
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', line => {
      lines.push(line)
      if (lines.length > keptLines) lines.shift()
      for (const watch of watchers) watch(line)
    })
  }
  const exited = once(child, 'close')
  const died = exited.then(([code]) => {
    throw new Error(`${command[0]} ended with ${code}:\n${lines.slice(-20).join('\n')}`)
  })
  died.catch(() => {})
  const pids = () => tree(child.pid ?? 0).filter(pid => !helpers.has(programOf(pid)))
  // A bench that is interrupted leaves nothing behind.
  const atExit = () => {
    for (const pid of pids()) signal(pid, 'SIGKILL')
  }
  process.prependListener('exit', atExit)
  return {
    startedAt,
    pids,
    async line(text) {
      const found = Promise.withResolvers<string>()
      const watch = (line: string) => line.includes(text) && found.resolve(line)
      watchers.add(watch)
      lines.forEach(watch)
      try {
        return await Promise.race([found.promise, died])
      } finally {
        watchers.delete(watch)
      }
    },
    listening: port => Promise.race([reachable(port), died]),
    async [Symbol.asyncDispose]() {
      process.off('exit', atExit)
      if (child.exitCode !== null || child.signalCode !== null) return
      signal(pids()[0] ?? child.pid, 'SIGTERM')
      const timer = setTimeout(() => signal(pids()[0] ?? child.pid, 'SIGKILL'), stopMaxMs)
      await exited
      clearTimeout(timer)
    },
  }
}

function signal(pid: number | undefined, name: NodeJS.Signals): void {
  try {
    if (pid !== undefined) process.kill(pid, name)
  } catch {
    // it ended by itself meanwhile
  }
}

/** Resolves once something listens on the port of this machine. */
async function reachable(port: number): Promise<void> {
  const waitMaxMs = 30_000
  for (const began = Date.now(); Date.now() - began < waitMaxMs; ) {
    const socket = net.connect(port, '127.0.0.1')
    const up = await once(socket, 'connect').then(
      () => true,
      () => false,
    )
    socket.destroy()
    if (up) return
    await new Promise(resolve => setTimeout(resolve, 2))
  }
  throw new Error(`nothing listens on ${port}`)
}

/** A process and its descendants, parents first. */
function tree(pid: number): number[] {
  return [pid, ...childrenOf(pid).flatMap(child => tree(child.pid))]
}

function programOf(pid: number): string {
  try {
    return basename(readlinkSync(`/proc/${pid}/exe`))
  } catch {
    return ''
  }
}

/** Proportional set size of processes in MiB: shared pages count by their share; 0 for those that are gone. */
export function proportionalMb(pids: readonly number[]): number {
  let kib = 0
  for (const pid of pids) {
    try {
      kib += Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0)
    } catch {
      // the process ended while we looked
    }
  }
  return kib / 1024
}
