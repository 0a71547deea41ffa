/**
 * Finds the command that was asked for, runs it and turns its end into an exit code.
 *
 *   argv ─► commands.ts (table) ─► load its file ─► commander parses ─► action ─► 0
 *                                        an error of any kind ─► one line on stderr ─► exit-code.ts
 */
import { type Command, CommanderError } from 'commander'
import { asFescueError } from '#base/errors.ts'
import { nearest } from '#base/nearest.ts'
import packageJson from '../../package.json' with { type: 'json' }
import { type CommandEntry, commands } from './commands.ts'
import { exitCodeHelp, exitCodeOf, exitCodes } from './exit-code.ts'
import type { Terminal } from './terminal.ts'

/** How the process should end. `kind` tells what a signal's exit code is; see `CommandEntry`. */
export interface RunResult {
  readonly code: number
  readonly kind: CommandEntry['kind']
}

/** Runs `fescue ARGS…`; never rejects. */
export async function run(args: readonly string[], terminal: Terminal): Promise<RunResult> {
  const [word = '--help', ...rest] = args
  if (word === '--version' || word === '-V') return finish(terminal, version())
  if (word === '--help' || word === '-h' || (word === 'help' && rest.length === 0)) {
    return finish(terminal, overview())
  }
  if (word === completeWord) return finish(terminal, await completionText(rest, terminal))
  const name = word === 'help' ? (rest[0] ?? '') : word
  const entry = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (entry === undefined) return unknownCommand(terminal, name)
  const code = await runCommand(entry, word === 'help' ? ['--help'] : rest, terminal)
  return { code, kind: entry.kind }
}

/** What the completion scripts call; no command, because it is for shells alone. */
const completeWord = '__complete'

async function completionText(words: readonly string[], terminal: Terminal): Promise<string> {
  const { complete } = await import('./complete.ts')
  const candidates = await complete(words, commands, terminal)
  return candidates.map(candidate => `${candidate}\n`).join('')
}

async function runCommand(entry: CommandEntry, args: readonly string[], terminal: Terminal): Promise<number> {
  try {
    const module = await entry.load()
    const command = module.build(terminal)
    command.name(`fescue ${command.name()}`)
    prepare(command, terminal)
    command.addHelpText('afterAll', exitCodeHelp)
    await command.parseAsync(args, { from: 'user' })
    return exitCodes.ok
  } catch (error) {
    return explain(error, terminal)
  }
}

/** Commander must neither exit nor write past our streams; it takes both settings per command. */
function prepare(command: Command, terminal: Terminal): void {
  command
    .exitOverride()
    .helpCommand(false)
    .showHelpAfterError('(--help shows how it is used)')
    .configureOutput({
      writeOut: text => terminal.stdout.write(text),
      writeErr: text => terminal.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, `${wordsOf(command)}: `)),
      getOutHelpWidth: () => terminal.stdout.columns ?? 100,
    })
  for (const child of command.commands) prepare(child, terminal)
}

/** As it was typed: `fescue devices add`. */
function wordsOf(command: Command): string {
  return command.parent === null ? command.name() : `${wordsOf(command.parent)} ${command.name()}`
}

function explain(error: unknown, terminal: Terminal): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage
  if (terminal.signal.aborted) return exitCodes.failed
  const known = asFescueError(error)
  terminal.stderr.write(`fescue: ${known.message} [${known.code}]\n`)
  if (known.code === 'FESCUE_INTERNAL' && !isSystemError(error))
    terminal.stderr.write(`${error instanceof Error ? error.stack : ''}\n`)
  return exitCodeOf(known)
}

/** What the system refused (EACCES, ENOTDIR) says why by itself; where in the code it was does not help. */
function isSystemError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error
}

function finish(terminal: Terminal, text: string): RunResult {
  terminal.stdout.write(text)
  return { code: exitCodes.ok, kind: 'client' }
}

function unknownCommand(terminal: Terminal, name: string): RunResult {
  const near = nearest(name, Object.keys(commands))
  const hint = near === undefined ? 'fescue --help lists them' : `did you mean "${near}"?`
  terminal.stderr.write(`fescue: there is no command "${name}": ${hint}\n`)
  return { code: exitCodes.usage, kind: 'client' }
}

function version(): string {
  return `fescue ${packageJson.version} (node ${process.versions.node}, ${process.platform}-${process.arch})\n`
}

function overview(): string {
  const width = Math.max(...Object.keys(commands).map(name => name.length))
  const lines = Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`)
  return `fescue: runs your functions beside your sensors, and loses nothing

Usage: fescue COMMAND [options]

${lines.join('\n')}

fescue COMMAND --help shows options and examples.
Commands find a running daemon by its data folder (--data DIR) or its address (--url URL --token TOKEN).
${exitCodeHelp}
`
}
