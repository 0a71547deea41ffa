/**
 * What may stand next on a command line: asked for by the completion scripts at every TAB.
 *
 *   words so far ─► walk the command (subcommands, options with values, arguments) ─► what is expected ─► candidates
 *                                                                                        │ names: from the daemon
 * Whatever goes wrong, there are no candidates: a shell that waits for TAB is no place for errors.
 */
import type { Argument, Command, Option } from 'commander'
import type { FunctionInfo } from '#api/backend.ts'
import type { CommandEntry } from './commands.ts'
import { findDaemon, type TargetOptions } from './daemon-target.ts'
import type { Terminal } from './terminal.ts'

/** `name` or `name\tdescription`. */
export type Candidate = string
/** Asks the shell for file names. */
export const files = ':files'

/** Longest wait for the daemon: somebody has pressed TAB. */
const daemonMaxMs = 1_000

/** Candidates for the last word, which may be empty or half typed. */
export async function complete(
  given: readonly string[],
  commands: Readonly<Record<string, CommandEntry>>,
  terminal: Terminal,
): Promise<readonly Candidate[]> {
  const words = joined(given)
  const current = words.at(-1) ?? ''
  const before = words.slice(0, -1)
  const [name = '', ...rest] = before[0] === 'help' ? before.slice(1) : before
  const found = await candidates(name, rest, current, commands, terminal).catch(() => [])
  const typed = current.startsWith('--') ? current.slice(current.indexOf('=') + 1) : current
  const prefix = current.includes('=') && current.startsWith('--') ? typed : current
  return found.filter(candidate => candidate === files || candidate.startsWith(prefix))
}

async function candidates(
  name: string,
  rest: readonly string[],
  current: string,
  commands: Readonly<Record<string, CommandEntry>>,
  terminal: Terminal,
): Promise<readonly Candidate[]> {
  if (name === '') {
    const names = Object.entries(commands).map(([word, { summary }]) => `${word}\t${summary}`)
    return current.startsWith('-') ? ['--help', '--version'] : [...names, 'help\tShow how a command is used']
  }
  const entry = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (entry === undefined) return []
  const { build } = await entry.load()
  const place = walk(build(terminal), rest)
  return expected(place, current, terminal)
}

/** Where on the line one is. */
interface Place {
  readonly command: Command
  /** Option whose value comes next. */
  readonly pending: Option | undefined
  /** Arguments that are there already. */
  readonly args: number
  /** Which daemon the line means so far. */
  readonly target: TargetOptions
}

function walk(top: Command, words: readonly string[]): Place {
  let command = top
  let pending: Option | undefined
  let args = 0
  const target: Record<string, string> = {}
  for (const word of words) {
    if (pending !== undefined) {
      target[pending.attributeName()] = word
      pending = undefined
    } else if (word.startsWith('-')) {
      const [flag = '', value] = word.split(/=(.*)/s)
      const option = optionOf(command, flag)
      if (option?.required === true && value === undefined) pending = option
      else if (option !== undefined && value !== undefined) target[option.attributeName()] = value
    } else {
      const child = args === 0 ? command.commands.find(each => each.name() === word) : undefined
      if (child === undefined) args += 1
      else command = child
    }
  }
  return { command, pending, args, target }
}

function optionOf(command: Command, flag: string): Option | undefined {
  return command.options.find(({ long, short }) => long === flag || short === flag)
}

async function expected(place: Place, current: string, terminal: Terminal): Promise<readonly Candidate[]> {
  const { command, pending, args } = place
  if (pending !== undefined) return valuesOf(pending, place, terminal)
  if (current.startsWith('-')) {
    const option = current.includes('=') ? optionOf(command, current.split('=')[0] ?? '') : undefined
    if (option !== undefined) return valuesOf(option, place, terminal)
    const options = command.options.filter(({ hidden }) => !hidden)
    return [...options.map(({ long, description }) => `${long}\t${description}`), '--help']
  }
  if (command.commands.length > 0)
    return command.commands.map(each => `${each.name()}\t${each.description()}`)
  const { registeredArguments: wanted } = command
  const argument = wanted[args] ?? (wanted.at(-1)?.variadic === true ? wanted.at(-1) : undefined)
  return argument === undefined ? [] : valuesOf(argument, place, terminal)
}

/** By the word in its brackets: `<function>`, `<file>`. */
async function valuesOf(
  wanted: Option | Argument,
  { target }: Place,
  terminal: Terminal,
): Promise<readonly Candidate[]> {
  if (wanted.argChoices !== undefined) return wanted.argChoices
  const word = 'flags' in wanted ? /[<[]([\w-]+)/.exec(wanted.flags)?.[1] : wanted.name()
  switch (word) {
    case 'function':
      return namesFrom<FunctionInfo>('/api/v1/functions', target, terminal)
    case 'device':
      return namesFrom<{ name: string }>('/api/v1/devices', target, terminal)
    case 'key': {
      const { keyDocs } = await import('#config/key-docs.ts')
      return keyDocs().map(({ key }) => key)
    }
    case 'file':
    case 'dir':
      return [files]
    default:
      return []
  }
}

async function namesFrom<Item extends { readonly name: string }>(
  path: string,
  target: TargetOptions,
  terminal: Terminal,
): Promise<readonly Candidate[]> {
  const client = await findDaemon(target, terminal)
  const items = await client.call<Item[]>(path, { signal: terminal.signal, timeoutMs: daemonMaxMs })
  return items.map(({ name }) => name)
}

/** bash gives `--data=x` as three words, zsh and fish as one. */
function joined(words: readonly string[]): string[] {
  const result: string[] = []
  for (const [index, word] of words.entries()) {
    const last = result.at(-1)
    const glued = last?.startsWith('--') === true && (word === '=' || (last.endsWith('=') && index > 0))
    if (glued) result[result.length - 1] = last + word
    else result.push(word)
  }
  return result
}
