/**
 * The cloud endpoint of `fescue dev`, as a process of its own: what it needs is not counted as the daemon's,
 * and killing it is a fair trial.
 *
 * It ends when its standard input does, so it cannot outlive `dev`, not even after a kill -9.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { type ErrorCode, errorTable, FescueError } from '#base/errors.ts'
import { installation } from '#base/installation.ts'

export interface DevCloudOptions {
  readonly port: number
  readonly data: string
  /** Called with each line it says. */
  readonly onLine: (line: string) => void
}

export interface DevCloud extends AsyncDisposable {
  readonly port: number
  readonly pid: number
}

/** Lines from before it serves: shown then, or the reason why it does not. */
const saidLinesMax = 20

/** Starts it and waits until it serves. Errors: the one that it ended with, else FESCUE_INTERNAL. */
export async function startDevCloud(options: DevCloudOptions): Promise<DevCloud> {
  const args = [
    installation.mainFile,
    'cloud',
    '--port',
    String(options.port),
    '--data',
    options.data,
    '--until-stdin-ends',
  ]
  // A process group of its own: Ctrl-C in the terminal goes to `dev`, which ends the endpoint after the daemon.
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: true })
  const port = await readyPort(child, options.onLine)
  const onExit = (code: number | null) => options.onLine(`it ended with ${code}`)
  child.on('exit', onExit)
  return {
    port,
    pid: child.pid ?? 0,
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.off('exit', onExit)
      const exited = once(child, 'exit')
      child.kill('SIGTERM')
      await exited
    },
  }
}

function readyPort(child: ChildProcess, onLine: (line: string) => void): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  const said: string[] = []
  let serving = false
  const serves = (port: number) => {
    serving = true
    for (const line of said) onLine(line)
    resolve(port)
  }
  for (const stream of [child.stdout, child.stderr]) {
    if (stream === null) continue
    createInterface({ input: stream }).on('line', line => {
      const port = portOfReady(line)
      if (port !== undefined) return serves(port)
      if (serving) onLine(line)
      else if (said.length < saidLinesMax) said.push(line)
    })
  }
  child.on('error', reject)
  child.on('exit', code => {
    reject(causeOf(said) ?? new FescueError('FESCUE_INTERNAL', `the cloud endpoint ended with ${code}`))
  })
  return promise
}

/** The error in what a command said last: `fescue: MESSAGE [CODE]`. */
function causeOf(said: readonly string[]): FescueError | undefined {
  const [, message, code] = /^fescue: (.*) \[(FESCUE_\w+)\]$/s.exec(said.join('\n')) ?? []
  return message !== undefined && code !== undefined && isErrorCode(code)
    ? new FescueError(code, message)
    : undefined
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(errorTable, code)
}

function portOfReady(line: string): number | undefined {
  try {
    const value: { msg?: unknown; http?: unknown } = JSON.parse(line)
    return value.msg === 'ready' && typeof value.http === 'number' ? value.http : undefined
  } catch {
    return undefined
  }
}
