/**
 * What a command may touch of the process: handed in by `main.ts`, so that tests run commands in their own
 * process with streams of theirs, and nothing but `main.ts` knows `process.exit` and signals.
 */
import type { ReadStream, WriteStream } from 'node:tty'

/** A stream to write text to; `isTTY` tells a terminal from a pipe. */
export type Output = Pick<WriteStream, 'write'> & { readonly isTTY?: boolean; readonly columns?: number }

export interface Terminal {
  /** Asked for only by what reads it: touching it opens the descriptor. */
  readonly stdin: () => ReadStream
  /** Data, and nothing but data. */
  readonly stdout: Output
  /** Talk: progress, warnings, errors. */
  readonly stderr: Output
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
  /** Aborts on the first SIGINT or SIGTERM: commands end what they do and return. */
  readonly signal: AbortSignal
  /** Calls at each SIGHUP instead of ending; disposing makes it an end again. */
  onHangUp(listener: () => void): Disposable
}

/** Whether colours and moving screens are wanted on this output (https://no-color.org). */
export function isColourful(terminal: Terminal, output: Output): boolean {
  const { NO_COLOR, TERM } = terminal.env
  return output.isTTY === true && !NO_COLOR && TERM !== 'dumb'
}
