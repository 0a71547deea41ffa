/** SIGKILL of a writing process at random instants: what it acknowledged is there (D1), effects go together (D2). */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import { openStore } from '#store/open.ts'

const script = join(import.meta.dirname, 'store-writer.ts')

/** Runs the writer and kills it; returns the numbers that it acknowledged. */
async function runAndKill(folder: string, first: number, afterMs: number, canary = false): Promise<number[]> {
  const child = spawn(process.execPath, [script, folder, String(first), ...(canary ? ['canary'] : [])], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  child.stdout.on('data', chunk => {
    text += chunk
    if (timer === undefined) timer = setTimeout(() => child.kill('SIGKILL'), afterMs)
  })
  let timer: NodeJS.Timeout | undefined
  await once(child, 'close')
  return text.split('\n').slice(0, -1).map(Number)
}

interface Found {
  readonly numbers: Set<number>
  readonly last: number
  readonly low: number
  readonly epochs: number
  readonly next: number
}

async function look(folder: string): Promise<Found> {
  await using store = await openStore({
    folder,
    clock: systemClock,
    logger: silentLogger,
    freeDiskMinBytes: 0,
    writeBufferBytes: 256 * 1024,
    journalSegmentBytes: 256 * 1024,
  })
  const log = store.findLog('inbox.count')
  // Killed before its first write got through: nothing is there, and what was acknowledged is lost.
  if (log === undefined) return { numbers: new Set(), last: 0, low: 0, epochs: store.epochs.length, next: 0 }
  const numbers = new Set<number>()
  for (let at = log.head; at < log.end; ) {
    const { records, next, lost } = await log.read(at, { maxRecords: 10_000, maxBytes: 10_000_000 })
    if (lost.length > 0) throw new Error(`lost ${JSON.stringify(lost)}`)
    for (const record of records) numbers.add(Number.parseInt(record.payload.toString(), 10))
    if (numbers.size !== log.end && next === log.end) throw new Error(`${numbers.size} of ${log.end} records`)
    at = next
  }
  return {
    numbers,
    last: Number((await store.get('counts', 'last'))?.toString()),
    low: (await store.checkpoint(log, 'consumer')).low,
    epochs: store.epochs.length,
    next: Math.max(...numbers) + 1,
  }
}

t.test('killed 12 times, nothing acknowledged is lost and the epoch goes on', async t => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-kill-'))
  const acknowledged: number[] = []
  let first = 0
  for (let round = 0; round < 12; round++) {
    acknowledged.push(...(await runAndKill(dir.path, first, 10 + Math.random() * 250)))
    const found = await look(dir.path)
    const lost = acknowledged.filter(number => !found.numbers.has(number))
    t.same(lost, [], `round ${round}: ${acknowledged.length} acknowledged, ${found.numbers.size} found`)
    t.equal(found.last, found.low, 'document and checkpoint of one transaction go together')
    t.equal(found.epochs, 1)
    first = Math.max(found.next, Math.max(...acknowledged) + 1)
  }
})

t.test('canary: a writer that acknowledges before it writes is found out', async t => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-canary-'))
  let lost = 0
  let first = 0
  for (let round = 0; round < 20 && lost === 0; round++) {
    const acknowledged = await runAndKill(dir.path, first, 5 + Math.random() * 60, true)
    const { numbers, next } = await look(dir.path)
    lost = acknowledged.filter(number => !numbers.has(number)).length
    first = Math.max(next, Math.max(...acknowledged) + 1)
  }
  t.ok(lost > 0)
})
