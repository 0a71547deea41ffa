/** `fescue config validate`: each problem with its place, the nearest valid name and the lines around it. */
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { codeFrame } from '#base/code-frame.ts'
import { FescueError } from '#base/errors.ts'
import type { Problem } from '#base/yaml-document.ts'
import { inspectConfig } from '#config/load-config.ts'
import { configPlaces } from './read-config.ts'
import type { Terminal } from './terminal.ts'

/** What `--json` prints. */
interface Verdict {
  readonly valid: boolean
  /** Absent when there is none, and defaults and variables are all there is. */
  readonly file?: string
  readonly problems: readonly { readonly where: string; readonly key: string; readonly message: string }[]
  readonly warnings: readonly string[]
}

/** Errors: FESCUE_CONFIG_INVALID, FESCUE_CONFIG_UNREADABLE. */
export async function validate(
  file: string | undefined,
  options: { readonly json?: boolean },
  terminal: Terminal,
): Promise<void> {
  const places = configPlaces(file === undefined ? {} : { config: file }, terminal)
  const inspected = await inspectConfig(places)
  const name = places.file ?? 'the configuration (no file, only defaults and variables)'
  const problems = inspected.kind === 'valid' ? [] : inspected.problems
  const warnings = inspected.kind === 'valid' ? inspected.loaded.warnings : []
  if (options.json === true) {
    const verdict: Verdict = {
      valid: problems.length === 0,
      ...(places.file !== undefined && { file: places.file }),
      problems: problems.map(({ where, path, message }) => ({ where, key: path.join('.'), message })),
      warnings,
    }
    terminal.stdout.write(`${JSON.stringify(verdict)}\n`)
  } else {
    for (const warning of warnings) terminal.stderr.write(`${warning}\n`)
    for (const text of await problemTexts(problems, terminal.cwd)) terminal.stderr.write(`${text}\n\n`)
  }
  if (problems.length > 0) {
    const count = problems.length === 1 ? 'one problem' : `${problems.length} problems`
    throw new FescueError('FESCUE_CONFIG_INVALID', `${name} has ${count}`)
  }
  if (options.json !== true) terminal.stderr.write(`${name} is valid.\n`)
}

/** `file:line:column: message`, with the lines around where there is a file. */
export async function problemTexts(
  problems: readonly Pick<Problem, 'where' | 'message'>[],
  cwd: string,
): Promise<string[]> {
  const files = new Map<string, readonly string[]>()
  const linesOf = async (file: string): Promise<readonly string[]> => {
    const known = files.get(file)
    if (known !== undefined) return known
    const lines = (await readFile(resolve(cwd, file), 'utf8').catch(() => '')).split('\n')
    files.set(file, lines)
    return lines
  }
  const texts: string[] = []
  for (const { where, message } of problems) {
    const [, file, line, column] = /^(.+):(\d+):(\d+)$/.exec(where) ?? []
    const lines = file === undefined ? [''] : await linesOf(file)
    const frame = lines.length > 1 ? `\n${codeFrame(lines, Number(line), Number(column) - 1)}` : ''
    texts.push(`${where}: ${message}${frame}`)
  }
  return texts
}
