/** Runs a command in this process with streams of its own, as `main.ts` would. */
import { Readable } from 'node:stream'
import type { ReadStream } from 'node:tty'
import { run } from '#cli/run.ts'
import type { Output, Terminal } from '#cli/terminal.ts'

export interface CommandInput {
  readonly stdin?: string
  readonly env?: Record<string, string>
  readonly cwd?: string
  readonly isTTY?: boolean
  readonly signal?: AbortSignal
}

export interface CommandResult {
  readonly code: number
  readonly stdout: string
  /** What was written to stdout, undecoded. */
  readonly bytes: Buffer
  readonly stderr: string
}

class Sink implements Output {
  readonly #chunks: Buffer[] = []
  readonly isTTY: boolean
  readonly columns = 100

  constructor(isTTY: boolean) {
    this.isTTY = isTTY
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#chunks)
  }

  write(chunk: unknown): boolean {
    this.#chunks.push(typeof chunk === 'string' ? Buffer.from(chunk) : (chunk as Buffer))
    return true
  }
}

export async function command(args: readonly string[], input: CommandInput = {}): Promise<CommandResult> {
  const stdout = new Sink(input.isTTY === true)
  const stderr = new Sink(false)
  const terminal: Terminal = {
    stdin: () => Readable.from([Buffer.from(input.stdin ?? '')]) as unknown as ReadStream,
    stdout,
    stderr,
    env: input.env ?? {},
    cwd: input.cwd ?? '/nonexistent',
    signal: input.signal ?? new AbortController().signal,
    onHangUp: () => ({ [Symbol.dispose]() {} }),
  }
  const { code } = await run(args, terminal)
  return { code, stdout: stdout.bytes.toString(), bytes: stdout.bytes, stderr: stderr.bytes.toString() }
}
