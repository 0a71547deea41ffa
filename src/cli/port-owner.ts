/**
 * Who listens on a TCP port of this machine, from /proc: the socket's inode in net/tcp, then the process that
 * holds it. Without root only one's own processes can be seen.
 */
import { readdir, readFile, readlink } from 'node:fs/promises'

export interface PortOwner {
  readonly pid: number
  /** The command line, shortened. */
  readonly command: string
}

/** State `LISTEN` in /proc/net/tcp (linux/include/net/tcp_states.h). */
const listening = '0A'
const commandCharactersMax = 80

/** The process that listens on the port, or undefined when none does or it may not be seen. */
export async function ownerOfPort(port: number): Promise<PortOwner | undefined> {
  const tables = await Promise.all(['/proc/net/tcp', '/proc/net/tcp6'].map(readOrEmpty))
  const links = new Set(tables.flatMap(table => inodesOf(table, port)).map(inode => `socket:[${inode}]`))
  if (links.size === 0) return undefined
  for (const pid of await processIds()) {
    if (await holds(pid, links)) return { pid: Number(pid), command: await commandOf(pid) }
  }
  return undefined
}

/** "node (pid 12, node src/main.ts start)", or what is known. */
export function describeOwner(owner: PortOwner | undefined): string {
  return owner === undefined ? 'another process (of another user)' : `pid ${owner.pid} (${owner.command})`
}

function inodesOf(table: string, port: number): string[] {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0')
  return table.split('\n').flatMap(row => {
    const [, local = '', , state = '', , , , , , inode = ''] = row.trim().split(/\s+/)
    return state === listening && local.endsWith(`:${wanted}`) ? [inode] : []
  })
}

async function processIds(): Promise<string[]> {
  return (await readdir('/proc')).filter(name => /^\d+$/.test(name))
}

async function holds(pid: string, links: ReadonlySet<string>): Promise<boolean> {
  try {
    for (const fd of await readdir(`/proc/${pid}/fd`)) {
      if (links.has(await readlink(`/proc/${pid}/fd/${fd}`).catch(() => ''))) return true
    }
  } catch {
    // Gone, or another user's.
  }
  return false
}

async function commandOf(pid: string): Promise<string> {
  const words = (await readOrEmpty(`/proc/${pid}/cmdline`)).split('\0')
  // Node's own flags stand before the program, which is what tells one from another.
  const text = words
    .filter((word, i) => i === 0 || !/^--[\w-]+=\d+$/.test(word))
    .join(' ')
    .trim()
  return text.length > commandCharactersMax ? `${text.slice(0, commandCharactersMax - 1)}…` : text
}

function readOrEmpty(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '')
}
