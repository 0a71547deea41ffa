/**
 * The store by itself, on an ext4 image of its own (needs root): commits of class `power` of one 256-byte record.
 *
 *   node bench/store.ts [--seconds 10] [--json FILE]
 *
 * Durable rate and latency by number of committers; device bytes a record at fixed rates; resident memory and
 * drain rate of a backlog of a million records; time to open it.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { systemClock } from '../src/base/clock.ts'
import { silentLogger } from '../src/base/logger.ts'
import type { CommitLog } from '../src/store/commit-log.ts'
import { openStore } from '../src/store/open.ts'
import type { Store } from '../src/store/store.ts'
import { Transaction } from '../src/store/transaction.ts'
import { deviceBytesWritten, inspectDisk } from './disk.ts'
import { mountImage } from './image.ts'

const { values: flags } = parseArgs({
  options: { seconds: { type: 'string', default: '10' }, json: { type: 'string' } },
})
const seconds = Number(flags.seconds)
const payload = Buffer.from('{"celsius":21.5,"humidity":48}'.padEnd(256))
const backlogRecords = 1_000_000
const disk = mountImage()
const results: Record<string, unknown> = { disk: inspectDisk(disk.folder) }

const open = (folder: string): Promise<Store> =>
  openStore({ folder, clock: systemClock, logger: silentLogger, freeDiskMinBytes: 0 })

function commit(store: Store, log: CommitLog, records = 1): Promise<void> {
  const tx = new Transaction().require('power')
  for (let index = 0; index < records; index++) {
    tx.append(log, {
      time: Date.now(),
      topic: 'sensors/a/temperature',
      payload,
      qos: 1,
      origin: 'mqtt:sensor-1',
    })
  }
  return store.write(tx)
}

const at = (sorted: readonly number[], share: number): number =>
  Number((sorted[Math.floor(sorted.length * share)] ?? 0).toFixed(3))

async function rateOf(committers: number): Promise<object> {
  await using store = await open(mkdtempSync(join(disk.folder, 'rate-')))
  const log = store.log('inbox.bench', { maxBytes: 1e10, overflow: 'block' })
  const latencies: number[] = []
  const started = performance.now()
  const end = started + seconds * 1000
  const committer = async () => {
    for (let now = started; now < end; ) {
      await commit(store, log)
      const after = performance.now()
      latencies.push(after - now)
      now = after
    }
  }
  const cpu = process.cpuUsage()
  await Promise.all(Array.from({ length: committers }, committer))
  const { user, system } = process.cpuUsage(cpu)
  latencies.sort((a, b) => a - b)
  return {
    committers,
    perSecond: Math.round(latencies.length / ((performance.now() - started) / 1000)),
    p50Ms: at(latencies, 0.5),
    p99Ms: at(latencies, 0.99),
    cpuUsPerRecord: Number(((user + system) / latencies.length).toFixed(2)),
  }
}

async function bytesAt(rate: number): Promise<object> {
  const store = await open(mkdtempSync(join(disk.folder, 'wear-')))
  const log = store.log('inbox.bench', { maxBytes: 1e10, overflow: 'block' })
  await commit(store, log)
  execFileSync('sync', ['-f', disk.folder])
  const before = deviceBytesWritten(disk.folder)
  const started = performance.now()
  const pending: Promise<void>[] = []
  let sent = 0
  while (performance.now() - started < seconds * 1000) {
    const due = Math.floor(((performance.now() - started) * rate) / 1000)
    for (; sent < due; sent++) pending.push(commit(store, log))
    await new Promise(resolve => setTimeout(resolve, 1))
  }
  await Promise.all(pending)
  execFileSync('sync', ['-f', disk.folder])
  const bytes = deviceBytesWritten(disk.folder) - before
  const { segments } = { segments: store.stats.batches }
  await store[Symbol.asyncDispose]()
  return { rate, records: sent, batches: segments, deviceBytesPerRecord: Math.round(bytes / sent) }
}

async function backlog(): Promise<object> {
  const folder = mkdtempSync(join(disk.folder, 'backlog-'))
  let filled: object
  {
    await using store = await open(folder)
    const log = store.log('outbox.cloud', { maxBytes: 1e10, overflow: 'drop-oldest' })
    await commit(store, log, 1000)
    globalThis.gc?.()
    const before = process.memoryUsage.rss()
    for (let index = 1; index < backlogRecords / 1000; index++) await commit(store, log, 1000)
    globalThis.gc?.()
    filled = {
      records: log.records,
      rssGrowthMiB: Math.round((process.memoryUsage.rss() - before) / 2 ** 20),
    }
  }
  const opening = performance.now()
  await using store = await open(folder)
  const openMs = Math.round(performance.now() - opening)
  const log = store.log('outbox.cloud', { maxBytes: 1e10, overflow: 'drop-oldest' })
  const started = performance.now()
  const reads: number[] = []
  for (let from = 0; from < log.end; ) {
    const before = performance.now()
    const { next } = await log.read(from, { maxRecords: 256, maxBytes: 1_000_000 })
    reads.push(performance.now() - before)
    from = next
    const tx = new Transaction().require('process')
    tx.checkpoint(log, 'cloud', { low: next, done: [], retries: [] })
    tx.truncate(log, next)
    await store.write(tx)
  }
  const drainPerSecond = Math.round(backlogRecords / ((performance.now() - started) / 1000))
  reads.sort((a, b) => a - b)
  return { ...filled, openMs, drainPerSecond, readP50Ms: at(reads, 0.5), readP99Ms: at(reads, 0.99) }
}

try {
  for (const committers of [1, 16, 256]) {
    const result = await rateOf(committers)
    results[`committers ${committers}`] = result
    console.log(JSON.stringify(result))
  }
  for (const rate of [10, 100, 10_000]) {
    const result = await bytesAt(rate)
    results[`rate ${rate}`] = result
    console.log(JSON.stringify(result))
  }
  results.backlog = await backlog()
  console.log(JSON.stringify(results.backlog))
} finally {
  disk.unmount()
}
if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(results, undefined, 2)}\n`)
