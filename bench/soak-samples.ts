/** What the processes of a soak use over time: memory, files, event-loop delay, bytes on disk, records waiting. */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { residentBytes } from '../test/harness/processes.ts'
import type { World } from '../test/harness/world.ts'

export interface Sample {
  /** Seconds since the start of the run. */
  readonly at: number
  /** Which life of the daemon: its process id. */
  readonly daemon: number
  readonly daemonMb: number
  readonly executorMb: number
  readonly endpointMb: number
  readonly openFiles: number
  readonly dataFiles: number
  readonly dataMb: number
  /** p99 since the sample before, in milliseconds. */
  readonly loopDelayMs: number
  readonly waiting: number
}

const mb = (bytes: number | undefined) => Math.round(((bytes ?? 0) / 1_048_576) * 100) / 100

/** One sample; undefined while a process is down. */
export async function takeSample(world: World, startedAt: number): Promise<Sample | undefined> {
  const { daemon, endpoint } = world
  if (daemon === undefined || endpoint === undefined) return undefined
  try {
    const metrics = await world.text('/metrics')
    const data = folderSize(world.dataFolder)
    return {
      at: Math.round((performance.now() - startedAt) / 1000),
      daemon: daemon.pid,
      daemonMb: mb(residentBytes(daemon.pid)),
      executorMb: mb(world.executors().reduce((sum, pid) => sum + (residentBytes(pid) ?? 0), 0)),
      endpointMb: mb(residentBytes(endpoint.pid)),
      openFiles: readdirSync(`/proc/${daemon.pid}/fd`).length,
      dataFiles: data.files,
      dataMb: mb(data.bytes),
      loopDelayMs: Math.round(metricOf(metrics, 'fescue_event_loop_delay_seconds') * 10_000) / 10,
      waiting: sumOf(metrics, /^fescue_log_records\{log="(?:inbox|outbox|session)\./),
    }
  } catch {
    return undefined
  }
}

function metricOf(metrics: string, name: string): number {
  return sumOf(metrics, new RegExp(`^${name}[ {]`))
}

function sumOf(metrics: string, line: RegExp): number {
  return metrics
    .split('\n')
    .filter(each => line.test(each))
    .reduce((sum, each) => sum + Number(each.slice(each.lastIndexOf(' ') + 1)), 0)
}

function folderSize(folder: string): { files: number; bytes: number } {
  let files = 0
  let bytes = 0
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    files += 1
    try {
      bytes += statSync(join(entry.parentPath, entry.name)).size
    } catch {
      // LevelDB has just removed it.
    }
  }
  return { files, bytes }
}

/** Growth in MiB per hour by least squares over samples of the last life of the daemon, after its warm-up. */
export function slopePerHour(
  samples: readonly Sample[],
  key: 'daemonMb' | 'executorMb' | 'openFiles',
  warmUpSeconds: number,
): number | undefined {
  const last = samples.at(-1)
  const life = samples.filter(each => each.daemon === last?.daemon)
  const from = (life[0]?.at ?? 0) + warmUpSeconds
  const points = life.filter(each => each.at >= from)
  if (points.length < 10) return undefined
  const mean = (of: (each: Sample) => number) =>
    points.reduce((sum, each) => sum + of(each), 0) / points.length
  const meanAt = mean(each => each.at)
  const meanValue = mean(each => each[key])
  const spread = points.reduce((sum, each) => sum + (each.at - meanAt) ** 2, 0)
  const common = points.reduce((sum, each) => sum + (each.at - meanAt) * (each[key] - meanValue), 0)
  return spread === 0 ? undefined : Math.round((common / spread) * 3600 * 100) / 100
}
