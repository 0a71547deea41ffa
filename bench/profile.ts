/**
 * The machine that a bench pretends to be. `box` is this one as it is. `pi` is a small one as far as a PC can
 * play it: each fsync takes 15 ms longer, a peer with all its processes gets one core and 512 MB.
 *
 *   strace (delays fsync) ─► taskset (core) ─► sh (joins the memory cgroup) ─► the peer
 *
 * The delay is strace's fault injection on a seccomp filter: it stops a process at fsync and fdatasync and
 * nowhere else, works on a static binary as on Node, and needs no compiler. What cannot be had on a machine is
 * left out and said in `limits`, which stands in every result. No figure of this profile is a Raspberry Pi's.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { need } from '../test/harness/need.ts'

export type ProfileName = 'box' | 'pi'

export interface Profile {
  readonly name: ProfileName
  /** What is in force, in words. */
  readonly limits: readonly string[]
  /**
   * The Node that peers run on: a copy of the bench's own, whose pages only the peer's processes share. With the
   * bench as a third, their proportional memory would look smaller than it is on a device.
   */
  readonly node: string
  /** Fescue as it is installed: `main.js` of the package. */
  readonly fescue: string
  /** Goes before the command of each peer. */
  readonly prefix: readonly string[]
  /** Processes that the kernel killed for memory since the start; undefined when nothing counts them. */
  outOfMemoryKills(): number | undefined
}

const fsyncExtraMs = 15
const memoryMaxBytes = 512 * 2 ** 20

/** What is installed on the machine; the rest of a profile is its limits. */
export type Installed = Pick<Profile, 'node' | 'fescue'>

export function openProfile(name: ProfileName, installed: Installed): Profile {
  if (name === 'pi') return piProfile(installed)
  return {
    ...installed,
    name,
    limits: ['none: all of this machine'],
    prefix: [],
    outOfMemoryKills: () => undefined,
  }
}

function piProfile(installed: Installed): Profile {
  const withoutTools = need('strace', 'taskset')
  if (withoutTools !== false) throw new Error(`--profile pi ${withoutTools} (apt install strace util-linux)`)
  const core = cpus().length - 1
  const delay = `fsync,fdatasync:delay_exit=${fsyncExtraMs * 1000}`
  const memory = memoryGroup()
  // The generator and its receivers keep off the core of the peer, where there is another.
  if (core > 0) execFileSync('taskset', ['-apc', `0-${core - 1}`, String(process.pid)], { stdio: 'ignore' })
  return {
    ...installed,
    name: 'pi',
    limits: [
      `${fsyncExtraMs} ms added to each fsync and fdatasync (strace, per call)`,
      `one core (taskset, core ${core} of ${cpus().length}; the load generator has the others)`,
      memory === undefined
        ? 'memory not limited: there is no memory cgroup to write to'
        : `${memoryMaxBytes / 2 ** 20} MB for all processes of a peer and their page cache (memory cgroup)`,
    ],
    prefix: [
      ...['strace', '-f', '--seccomp-bpf', '-qq', '-o', '/dev/null'],
      ...['-e', 'trace=fsync,fdatasync', '-e', `inject=${delay}`, '--'],
      ...['taskset', '-c', String(core)],
      ...(memory === undefined
        ? []
        : ['sh', '-c', `echo $$ > '${memory.folder}/cgroup.procs' && exec "$@"`, 'sh']),
    ],
    outOfMemoryKills: () => memory?.kills(),
  }
}

interface MemoryGroup {
  readonly folder: string
  kills(): number
}

/** A memory cgroup of this run, of version 1 or 2, gone at its end; undefined without the right to make one. */
function memoryGroup(): MemoryGroup | undefined {
  const name = `fescue-bench-${process.pid}`
  const versions = [
    { root: '/sys/fs/cgroup/memory', limit: 'memory.limit_in_bytes', events: 'memory.oom_control' },
    { root: '/sys/fs/cgroup', limit: 'memory.max', events: 'memory.events' },
  ]
  for (const { root, limit, events } of versions) {
    const folder = join(root, name)
    try {
      mkdirSync(folder)
    } catch {
      continue
    }
    if (existsSync(join(folder, limit))) {
      writeFileSync(join(folder, limit), String(memoryMaxBytes))
      process.on('exit', () => removeGroup(folder))
      const kills = () =>
        Number(/^oom_kill (\d+)/m.exec(readFileSync(join(folder, events), 'utf8'))?.[1] ?? 0)
      return { folder, kills }
    }
    rmdirSync(folder)
  }
  return undefined
}

/** Interrupted, the kernel may not be done with its processes, and the empty group stays behind. */
function removeGroup(folder: string): void {
  try {
    rmdirSync(folder)
  } catch {
    // an empty group costs nothing
  }
}
