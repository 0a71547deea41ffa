/** A command as a person runs it: its lines as they come, and a wait for the one that matters. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

export class ConsoleProcess implements AsyncDisposable {
  readonly lines: string[] = []
  readonly startedAt = performance.now()
  readonly child
  readonly exited: Promise<number | null>
  readonly #looking = new Set<() => void>()

  constructor(
    command: string,
    args: readonly string[],
    options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
  ) {
    const env = { ...process.env, ...options.env }
    this.child = spawn(command, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env,
      ...(options.cwd && { cwd: options.cwd }),
    })
    this.exited = once(this.child, 'exit').then(([code]) => {
      for (const look of this.#looking) look()
      return code as number | null
    })
    for (const stream of [this.child.stdout, this.child.stderr]) {
      createInterface({ input: stream }).on('line', line => {
        this.lines.push(line)
        for (const look of this.#looking) look()
      })
    }
  }

  get text(): string {
    return this.lines.join('\n')
  }

  /** The first line, from `after` on, that the pattern matches; rejects with all that was said when it ends before. */
  line(pattern: RegExp, after = 0): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      let next = after
      const look = () => {
        for (; next < this.lines.length; next++) {
          const match = pattern.exec(this.lines[next] ?? '')
          if (match === null) continue
          this.#looking.delete(look)
          resolve(match)
          return
        }
        if (this.child.exitCode === null && this.child.signalCode === null) return
        this.#looking.delete(look)
        reject(new Error(`it ended without ${pattern}:\n${this.text}`))
      }
      this.#looking.add(look)
      look()
    })
  }

  /** The number of lines so far: what comes after an act is looked for from here. */
  get mark(): number {
    return this.lines.length
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGKILL')
    await this.exited
  }
}
