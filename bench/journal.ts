/**
 * Weighs what may lie under the writer: LevelDB's own write-ahead log, synced, against a preallocated and
 * recycled journal with LevelDB unsynced beside it.
 *
 *   node bench/journal.ts [--seconds 10] [--out bench/results/journal-DATE.json]
 *
 * Messages of 256 bytes come at a fixed rate; all that came while a commit was under way go into the next one.
 * A commit is a block, a mark and a batch number, as the store writes them. Bytes are the sectors of a block
 * device: an ext4 image is mounted through a loop device, so that no other process counts (needs root). Each
 * run ends with a sync of the file system, so that what LevelDB left unsynced is counted once too.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { constants, type FileHandle, open } from 'node:fs/promises'
import { cpus, release } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { crc32 } from 'node:zlib'
import { Level } from 'level'
import { deviceBytesWritten } from './disk.ts'
import { mountImage } from './image.ts'

const { values: options } = parseArgs({
  options: { seconds: { type: 'string', default: '10' }, out: { type: 'string' } },
})

const messageBytes = 256
const envelopeBytes = 48
const segmentBytes = 4 * 1024 * 1024
const segments = 4

interface Engine {
  commit(messages: number): Promise<void>
  close(): Promise<void>
}

type Put = { type: 'put'; key: Buffer; value: Buffer }

let offset = 0
let batch = 0
/** The operations of one commit of the store: a block of records, the log's mark, the batch's number. */
function operationsOf(messages: number): Put[] {
  const key = Buffer.alloc(11)
  key.writeUIntBE(offset, 5, 6)
  offset += messages
  batch += 1
  const block = Buffer.alloc(16 + messages * (messageBytes + envelopeBytes))
  for (let at = 0; at < block.length; at += 8)
    block.writeDoubleBE(Math.random(), Math.min(at, block.length - 8))
  const number = Buffer.alloc(10)
  number.writeUIntBE(batch, 4, 6)
  return [
    { type: 'put', key, value: block },
    { type: 'put', key: Buffer.from('M00000001'), value: Buffer.alloc(60, batch) },
    { type: 'put', key: Buffer.from(`W${(batch % 16_384).toString(16)}`), value: number },
  ]
}

async function level(
  folder: string,
  sync: boolean,
): Promise<{ put(operations: Put[]): Promise<void>; close(): Promise<void> }> {
  const db = new Level<Buffer, Buffer>(join(folder, 'level'), {
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
  })
  await db.open()
  return { put: operations => db.batch(operations, { sync } as object), close: () => db.close() }
}

async function levelAlone(folder: string): Promise<Engine> {
  const db = await level(folder, true)
  return { commit: messages => db.put(operationsOf(messages)), close: () => db.close() }
}

async function journalAndLevel(folder: string, dsync: boolean): Promise<Engine> {
  const db = await level(folder, false)
  const files: FileHandle[] = []
  for (let index = 0; index < segments; index++) {
    const path = join(folder, `${index}.journal`)
    writeFileSync(path, Buffer.alloc(segmentBytes))
    const file = await open(path, constants.O_RDWR | (dsync ? constants.O_DSYNC : 0))
    await file.sync()
    files.push(file)
  }
  let segment = 0
  let at = 0
  const write = async (frame: Buffer): Promise<void> => {
    if (at + frame.length > segmentBytes) {
      segment = (segment + 1) % segments
      at = 0
    }
    const start = at
    at += frame.length
    const file = files[segment]
    await file?.write(frame, 0, frame.length, start)
    if (!dsync) await file?.datasync()
  }
  return {
    async commit(messages) {
      const operations = operationsOf(messages)
      const header = Buffer.alloc(18)
      const frame = Buffer.concat([
        header,
        ...operations.flatMap(({ key, value }) => [Buffer.alloc(4), key, value]),
      ])
      frame.writeUInt32BE(crc32(frame.subarray(8)), 4)
      await Promise.all([write(frame), db.put(operations)])
    },
    async close() {
      await db.close()
      for (const file of files) await file.close()
    },
  }
}

const percentile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0

async function run(folder: string, engine: Engine, rate: number, seconds: number): Promise<object> {
  execFileSync('sync', ['-f', folder])
  const before = deviceBytesWritten(folder)
  const latencies: number[] = []
  const started = performance.now()
  const end = started + seconds * 1000
  let sent = 0
  let commits = 0
  for (let now = started; now < end; now = performance.now()) {
    const due = Math.floor(((now - started) * rate) / 1000) - sent
    if (due <= 0) {
      await new Promise(resolve => setTimeout(resolve, Math.min(20, 1000 / rate)))
      continue
    }
    await engine.commit(due)
    latencies.push(performance.now() - now)
    sent += due
    commits += 1
  }
  const seconds_ = (performance.now() - started) / 1000
  execFileSync('sync', ['-f', folder])
  const bytes = deviceBytesWritten(folder) - before
  latencies.sort((a, b) => a - b)
  return {
    messages: sent,
    commits,
    perSecond: Math.round(sent / seconds_),
    commitMsP50: Number(percentile(latencies, 0.5).toFixed(3)),
    commitMsP99: Number(percentile(latencies, 0.99).toFixed(3)),
    deviceBytesPerMessage: Math.round(bytes / sent),
    timesPayload: Number((bytes / sent / messageBytes).toFixed(1)),
  }
}

const engines = {
  'level sync': levelAlone,
  'journal fdatasync + level': (folder: string) => journalAndLevel(folder, false),
  'journal O_DSYNC + level': (folder: string) => journalAndLevel(folder, true),
}
const date = new Date().toISOString().slice(0, 10)
const results = []
const disk = mountImage()
try {
  for (const rate of [10, 100, 10_000]) {
    for (const [name, make] of Object.entries(engines)) {
      const folder = mkdtempSync(join(disk.folder, 'run-'))
      const engine = await make(folder)
      const result = { rate, engine: name, ...(await run(folder, engine, rate, Number(options.seconds))) }
      await engine.close()
      rmSync(folder, { recursive: true })
      results.push(result)
      console.log(JSON.stringify(result))
    }
  }
} finally {
  disk.unmount()
}
const machine = {
  cpu: cpus()[0]?.model,
  cores: cpus().length,
  kernel: release(),
  fileSystem: 'ext4 on a loop device',
  node: process.version,
}
const out = options.out ?? `bench/results/journal-${date}.json`
writeFileSync(
  out,
  `${JSON.stringify({ date, seconds: Number(options.seconds), messageBytes, machine, results }, undefined, 2)}\n`,
)
