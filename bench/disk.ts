/** The disk under a bench: refuses memory file systems, measures fsync, counts the sectors of the device. */
import { closeSync, fdatasyncSync, openSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'

export interface DiskReport {
  readonly fileSystem: string
  readonly device: string
  readonly fsyncP50Ms: number
  readonly fsyncP99Ms: number
}

const sectorBytes = 512
const memoryFileSystems = new Set(['tmpfs', 'ramfs', 'devtmpfs'])

/** Throws on a memory file system: its fsync costs nothing and its figures mean nothing. */
export function inspectDisk(folder: string): DiskReport {
  const { fileSystem, device } = mountOf(folder)
  if (memoryFileSystems.has(fileSystem))
    throw new Error(`${folder} is on ${fileSystem}: bench on a disk (set BENCH_DIR)`)
  const path = join(folder, 'fsync-probe')
  const file = openSync(path, 'w')
  const times: number[] = []
  for (let i = 0; i < 200; i++) {
    writeSync(file, Buffer.alloc(512, i))
    const before = performance.now()
    fdatasyncSync(file)
    times.push(performance.now() - before)
  }
  closeSync(file)
  rmSync(path)
  times.sort((a, b) => a - b)
  const at = (share: number) => Math.round((times[Math.floor(times.length * share)] ?? 0) * 1000) / 1000
  return { fileSystem, device, fsyncP50Ms: at(0.5), fsyncP99Ms: at(0.99) }
}

/** Bytes written to the device of the folder since boot, by sectors: page cache and journal included. */
export function deviceBytesWritten(folder: string): number {
  const { dev } = statSync(folder)
  const id = `${(dev >> 8) & 0xfff}:${(dev & 0xff) | ((dev >> 12) & 0xfff00)}`
  const [major, minor] = id.split(':')
  for (const line of readFileSync('/proc/diskstats', 'utf8').split('\n')) {
    const fields = line.trim().split(/\s+/)
    if (fields[0] === major && fields[1] === minor) return Number(fields[9]) * sectorBytes
  }
  throw new Error(`no device ${id} in /proc/diskstats`)
}

function mountOf(folder: string): { fileSystem: string; device: string } {
  let best = { path: '', fileSystem: 'unknown', device: 'unknown' }
  for (const line of readFileSync('/proc/mounts', 'utf8').split('\n')) {
    const [device = '', path = '', fileSystem = ''] = line.split(' ')
    const inside = folder === path || folder.startsWith(path.endsWith('/') ? path : `${path}/`)
    if (path !== '' && inside && path.length >= best.path.length) best = { path, fileSystem, device }
  }
  return best
}
