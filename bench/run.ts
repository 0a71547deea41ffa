/**
 * `npm run bench`: Fescue beside its peers in one run, rounds interleaved, reported as ratios of medians.
 *
 * Fescue does the whole way, sensor → function → actuator at QoS 1 with fsync before each PUBACK; mosquitto
 * forwards the same messages with no function and no disk. Options: --rounds N --seconds S --json FILE.
 * Data goes to BENCH_DIR (default: the system's temporary folder), which must be on a disk.
 */

import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { deviceBytesWritten, inspectDisk } from './disk.ts'
import { measureFootprint, proportionalMb } from './footprint.ts'
import { type LoadOptions, type LoadResult, runLoad } from './load.ts'
import { type Peer, startFescuePeer, startMosquitto } from './peers.ts'

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '4' },
    json: { type: 'string' },
  },
})

interface Case {
  readonly name: string
  readonly load: Omit<LoadOptions, 'port' | 'topic' | 'subscribe'>
}

const closed = {
  publishers: 1,
  payloadBytes: 256,
  warmSeconds: 2,
  seconds: Number(flags.seconds),
  inFlightMax: 4_000,
}
const cases: readonly Case[] = [
  { name: 'saturated, 1 publisher', load: { ...closed, window: 1_000 } },
  { name: 'saturated, 10 publishers', load: { ...closed, publishers: 10, window: 200 } },
  { name: '1,000 msg/s', load: { ...closed, window: 1_000, ratePerSecond: 1_000 } },
]

interface Row extends LoadResult {
  readonly case: string
  readonly peer: string
  readonly round: number
  /** Bytes that the block device took per delivered message; the peer's share of a machine that does nothing else. */
  readonly deviceBytesPerMessage: number
  readonly residentMb: number
}

const routes: Record<string, Pick<LoadOptions, 'topic' | 'subscribe'>> = {
  fescue: { topic: i => `sensors/${i}/temperature`, subscribe: 'actuators/#' },
  mosquitto: { topic: i => `sensors/${i}/temperature`, subscribe: 'sensors/#' },
}

async function measure(peer: Peer, folder: string, each: Case, round: number): Promise<Row> {
  const before = deviceBytesWritten(folder)
  const result = await runLoad({ ...each.load, ...routes[peer.name]!, port: peer.port })
  const written = deviceBytesWritten(folder) - before
  const messages = result.deliveredPerSecond * (each.load.seconds + each.load.warmSeconds)
  const resident = await Promise.all(peer.pids().map(proportionalMb))
  return {
    case: each.name,
    peer: peer.name,
    round,
    ...result,
    deviceBytesPerMessage: Math.round(written / Math.max(1, messages)),
    residentMb: Math.round(resident.reduce((sum, mb) => sum + mb, 0)),
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

function summary(rows: readonly Row[]): Record<string, string | number>[] {
  const table: Record<string, string | number>[] = []
  for (const { name } of cases) {
    const of = (peer: string, key: keyof LoadResult | 'deviceBytesPerMessage' | 'residentMb') =>
      median(rows.filter(row => row.case === name && row.peer === peer).map(row => row[key]))
    for (const peer of Object.keys(routes)) {
      const rate = of(peer, 'deliveredPerSecond')
      table.push({
        case: name,
        peer,
        'delivered/s': rate,
        ratio: Math.round((rate / of('mosquitto', 'deliveredPerSecond')) * 100) / 100,
        'p50 ms': of(peer, 'p50Ms'),
        'p99 ms': of(peer, 'p99Ms'),
        'device B/msg': of(peer, 'deviceBytesPerMessage'),
        'PSS MB': of(peer, 'residentMb'),
        missing: Math.max(
          ...rows.filter(row => row.case === name && row.peer === peer).map(row => row.missing),
        ),
        'generator CPU': of(peer, 'generatorCpu'),
      })
    }
  }
  return table
}

const folder = await mkdtemp(join(process.env.BENCH_DIR ?? tmpdir(), 'fescue-bench-'))
const disk = inspectDisk(folder)
console.log(
  `disk ${disk.device} ${disk.fileSystem}: fsync p50 ${disk.fsyncP50Ms} ms, p99 ${disk.fsyncP99Ms} ms`,
)
const rows: Row[] = []
const footprint = await measureFootprint(join(folder, 'footprint'))
console.log(footprint)
try {
  for (let round = 1; round <= Number(flags.rounds); round++) {
    for (const each of cases) {
      for (const start of [startFescuePeer, startMosquitto]) {
        await using peer = await start(
          join(folder, `${round}-${each.name.replaceAll(/\W+/g, '-')}-${start.name}`),
        )
        const row = await measure(peer, folder, each, round)
        rows.push(row)
        console.log(
          `round ${round}, ${each.name}, ${peer.name}: ${row.deliveredPerSecond}/s, p99 ${row.p99Ms} ms`,
        )
      }
    }
  }
} finally {
  await rm(folder, { recursive: true, force: true, maxRetries: 5 })
}
console.table(summary(rows))
if (flags.json !== undefined) {
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
  const machine = { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version, disk }
  await writeFile(
    flags.json,
    `${JSON.stringify({ date: new Date().toISOString(), commit, machine, footprint, summary: summary(rows), rows }, null, 2)}\n`,
  )
}
