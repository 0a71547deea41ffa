/**
 * Fescue's own processes under test: started as a user starts them, killed as the power would, started again.
 *
 * `ready` waits for the line on stdout; `kill` sends SIGKILL and waits for the exit; `stop` is SIGTERM.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

export const root = join(import.meta.dirname, '../..')
export const mainFile = join(root, 'src/main.ts')

export interface ReadyLine {
  readonly msg: 'ready'
  readonly mqtt: number
  readonly http: number
}

export interface RunningProcess {
  readonly pid: number
  readonly ready: ReadyLine
  /** Lines written since the start, the last `keptLines`. */
  readonly output: readonly string[]
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>
  /** SIGTERM; resolves with the exit code. */
  stop(): Promise<number | null>
  readonly exited: Promise<number | null>
}

const keptLines = 400

/**
 * Starts `fescue ARGS`; rejects with its output when it ends before the ready line. `nodeArgs` go before `main`, which is
 * the checkout's unless a bundle's is given.
 */
export async function startFescue(
  args: readonly string[],
  nodeArgs: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
  main: string = mainFile,
): Promise<RunningProcess> {
  const child = spawn(process.execPath, [...nodeArgs, main, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  })
  const output: string[] = []
  const keep = (line: string) => {
    output.push(line)
    if (output.length > keptLines) output.shift()
  }
  const exited = once(child, 'exit').then(([code]) => code as number | null)
  createInterface({ input: child.stderr! }).on('line', keep)
  const ready = await new Promise<ReadyLine>((resolve, reject) => {
    createInterface({ input: child.stdout! }).on('line', line => {
      keep(line)
      const parsed = parseReady(line)
      if (parsed !== undefined) resolve(parsed)
    })
    void exited.then(code => reject(new Error(`fescue ${args[0]} ended with ${code}:\n${output.join('\n')}`)))
  })
  return {
    pid: child.pid!,
    ready,
    output,
    kill: () => end(child, exited, 'SIGKILL').then(() => {}),
    stop: () => end(child, exited, 'SIGTERM'),
    exited,
  }
}

function parseReady(line: string): ReadyLine | undefined {
  if (!line.includes('"ready"')) return undefined
  try {
    const parsed = JSON.parse(line)
    return parsed.msg === 'ready' ? parsed : undefined
  } catch {
    return undefined
  }
}

async function end(
  child: ChildProcess,
  exited: Promise<number | null>,
  signal: NodeJS.Signals,
): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) child.kill(signal)
  return exited
}

/** Direct children of a process, with their command lines. */
export function childrenOf(pid: number): { pid: number; command: string }[] {
  const found: { pid: number; command: string }[] = []
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8')
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
      if (parent !== pid) continue
      found.push({
        pid: Number(entry),
        command: readFileSync(`/proc/${entry}/cmdline`, 'utf8').replaceAll('\0', ' '),
      })
    } catch {
      // the process ended while we looked
    }
  }
  return found
}

/** Pids of the executors below a daemon: the children that may load the native module. */
export function executorsOf(daemonPid: number): number[] {
  return childrenOf(daemonPid)
    .filter(({ command }) => command.includes('--allow-addons'))
    .map(({ pid }) => pid)
}

/** Resident memory in bytes, or undefined when the process is gone. */
export function residentBytes(pid: number): number | undefined {
  try {
    const kib = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    return kib === undefined ? undefined : Number(kib) * 1024
  } catch {
    return undefined
  }
}
