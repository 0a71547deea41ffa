/**
 * How a server process is set up, which Node takes only at its start: so a server replaces itself once (execve: same
 * process id, same standard streams).
 *
 * The compile cache in ~/.cache/fescue keeps sources without their types, and V8's bytecode. Node strips types with a
 * WebAssembly module; a daemon that has loaded it holds 16 MB more for ever, and starting takes about twice as long.
 * Measured with Node 24.21 on x64, warm: proportional memory of an idle daemon 78 MB without, 51 MB with it.
 *
 * V8 lets its heap grow as if the machine were its own. Measured on 2 cores, sensor to actuator at QoS 1, saturated:
 * 80,000 messages/s in 357 MB as it comes, 45,000 to 70,000 in 146 to 162 MB with `serverFlags`, 30,000 in 144 MB with
 * --optimize-for-size. A user who wants V8's own choice sets it in NODE_OPTIONS or on the command line.
 */
import { homedir } from 'node:os'
import { join } from 'node:path'

type Environment = Readonly<Record<string, string | undefined>>

/** What of `process` is needed to replace it. */
export interface Replaceable {
  readonly env: Environment
  readonly execPath: string
  readonly execArgv: readonly string[]
  readonly argv: readonly string[]
  readonly execve?: (file: string, args: readonly string[], env: NodeJS.ProcessEnv) => unknown
}

/** A young generation of 4 MiB, and an old one that is cleaned when it has grown by 30 percent. */
export const serverFlags: readonly string[] = ['--max-semi-space-size=4', '--heap-growing-percent=30']
/** glibc's arenas: LevelDB's threads would each keep their own. */
export const arenasMax = '2'

/**
 * Bytes of the slabs that small buffers share. Of Node's own 64 KiB (24.21) each stays for one topic or key of some bytes
 * that is kept. After minutes of a mixed load of 50 messages/s a daemon holds 10 MB less with this and blocks of the
 * store outside of the pool.
 */
const poolBytes = 8 * 1024

/** What a server sets in its own process. */
export function useServerMemory(): void {
  Buffer.poolSize = poolBytes
}

export function compileCacheFolder(env: Environment): string {
  return join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'fescue')
}

/** Starts the same program in this process again, set up as a server; returns when there is no need or no way. */
export function relaunchAsServer(self: Replaceable): void {
  const { env, execve, execPath, execArgv, argv } = self
  const options = `${execArgv.join(' ')} ${env.NODE_OPTIONS ?? ''}`
  const flags = /--(max-semi-space-size|heap-growing-percent|optimize-for-size)/.test(options)
    ? []
    : serverFlags
  const cached = env.NODE_COMPILE_CACHE || env.NODE_DISABLE_COMPILE_CACHE
  if (cached && flags.length === 0) return
  // A channel to a parent's fork() would be closed by it.
  if (env.NODE_CHANNEL_FD || execve === undefined) return
  const args = [execPath, ...execArgv, ...flags, ...argv.slice(1)]
  execve(execPath, args, {
    MALLOC_ARENA_MAX: arenasMax,
    ...env,
    ...(cached ? {} : { NODE_COMPILE_CACHE: compileCacheFolder(env) }),
  })
}

/** Turns the cache on for what is loaded from now on: enough for a command that is over soon. */
export function useCompileCache(env: Environment): void {
  process.getBuiltinModule('node:module').enableCompileCache(compileCacheFolder(env))
}

/** Writes what was compiled so far, so that a kill does not cost the next start its cache. */
export function flushCompileCache(): void {
  process.getBuiltinModule('node:module').flushCompileCache()
}
