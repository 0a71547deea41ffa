#!/usr/bin/env node
/**
 * The entry of every `fescue` command: checks Node, names the process's streams and signals, dispatches.
 *
 * The first SIGINT or SIGTERM asks the command to end (D7); a second, or five seconds, ends the process. SIGHUP
 * makes `start` read its configuration again, and ends all others. Only this file touches `process.exit` and
 * signal handlers.
 */
import { writeSync } from 'node:fs'
import { problemOfNode } from '#cli/node-version.ts'
import { relaunchAsServer, useCompileCache, useServerMemory } from '#cli/relaunch.ts'

/** Commands that stay: worth starting over with the compile cache. */
const servers: ReadonlySet<string> = new Set(['start', 'dev', 'cloud'])
/** From the first signal until the process is gone, whatever a part does (D7). */
const stopMaxMs = 4_800
/** npm passes a Ctrl-C on to us, who already had it from the terminal: a copy within this time is no second one. */
const copyMaxMs = 150

async function main(): Promise<void> {
  const problem = problemOfNode(process.versions.node)
  if (problem !== undefined) {
    process.stderr.write(`${problem}\n`)
    process.exit(1)
  }
  if (servers.has(process.argv[2] ?? '')) {
    relaunchAsServer(process)
    useServerMemory()
  }
  useCompileCache(process.env)
  const { run } = await import('#cli/run.ts')
  // Timers of the parts do not keep the process alive; what is awaited here must.
  setInterval(() => {}, 60_000)
  const stopping = new AbortController()
  const signals = onSignals(stopping)
  const { code, kind } = await run(process.argv.slice(2), {
    stdin: () => process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    cwd: process.cwd(),
    signal: stopping.signal,
    onHangUp: signals.onHangUp,
  })
  const signal = signals.received()
  process.exit(kind === 'client' && signal !== undefined ? signalCodes[signal] : code)
}

const signalCodes = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const
type Signal = keyof typeof signalCodes

interface Signals {
  /** The first one that asked for the end. */
  received(): Signal | undefined
  onHangUp(listener: () => void): Disposable
}

/** Aborts `stopping` on the first signal, but for a SIGHUP that somebody listens to. */
function onSignals(stopping: AbortController): Signals {
  let first: Signal | undefined
  let firstAt = 0
  let hangUp: (() => void) | undefined
  const handle = (signal: Signal) => {
    if (signal === 'SIGHUP' && hangUp !== undefined && first === undefined && !isTerminalGone()) {
      hangUp()
      return
    }
    if (first !== undefined) {
      if (performance.now() - firstAt > copyMaxMs) process.exit(signalCodes[signal])
      return
    }
    first = signal
    firstAt = performance.now()
    stopping.abort()
    setTimeout(() => process.exit(1), stopMaxMs).unref()
  }
  process.on('SIGINT', handle).on('SIGTERM', handle).on('SIGHUP', handle)
  // A closed pipe (`fescue sub | head -1`) is an end like any other, not a failure.
  process.stdout.on('error', () => process.exit(0))
  return {
    received: () => first,
    onHangUp: listener => {
      hangUp = listener
      return {
        [Symbol.dispose]() {
          hangUp = undefined
        },
      }
    },
  }
}

/** A SIGHUP is also what a process gets whose terminal was closed; then writing to it fails (tty_ioctl(4)). */
function isTerminalGone(): boolean {
  if (!process.stdout.isTTY) return false
  try {
    writeSync(1, '')
    return false
  } catch {
    return true
  }
}

await main()
