/**
 * The command that starts an executor: Node with its fences, under `prlimit` and `setpriv` where these are installed.
 *
 *   prlimit (no core file, no file written, 64 descriptors) → setpriv (dies with its parent, no new privileges) → node
 *
 * Each replaces itself by the next, so the process id stays. The executor may read its native module and nothing else (Node's
 * permission model), has an empty environment but for the time zone, and uses no network.
 */
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { ExecutorFiles } from './executor-files.ts'

/** The full path of a program, or undefined. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/bin', '/bin', '/usr/sbin', '/sbin']
  return folders.map(folder => join(folder, name)).find(path => path.startsWith('/') && existsSync(path))
}

/** Most descriptors that an executor opens. */
const descriptorsMax = 64

/** Program and arguments that start an executor; a program that is a text goes to its standard input. */
export function executorCommand({ program, native }: ExecutorFiles, timeZone: string): readonly string[] {
  const prlimit = findProgram('prlimit')
  const setpriv = findProgram('setpriv')
  const env = findProgram('env')
  const readable = program.kind === 'file' ? [native, program.path] : [native]
  return [
    ...(prlimit === undefined ? [] : [prlimit, '--core=0', '--fsize=0', `--nofile=${descriptorsMax}`, '--']),
    ...(setpriv === undefined ? [] : [setpriv, '--pdeathsig', 'KILL', '--no-new-privs', '--']),
    // Whoever hooks into spawn (a test runner does) may add variables; NODE_OPTIONS among them would undo fences.
    ...(env === undefined ? [] : [env, '-i', `TZ=${timeZone}`]),
    process.execPath,
    '--no-node-snapshot',
    '--permission',
    '--allow-addons',
    // Each start would warn that addons can do what they like; its words would stand in every death's text.
    '--disable-warning=PERM0001',
    ...readable.map(path => `--allow-fs-read=${path}`),
    '--max-old-space-size=64',
    '--v8-pool-size=1',
    '--wasm-max-mem-pages=256',
    ...(program.kind === 'file' ? [program.path] : ['--input-type=module', '-']),
    native,
  ]
}
