/** What a fault run gathers before the judge speaks: waits until nothing is queued, then reads all that is kept. */
import type { Publisher } from './publisher.ts'
import type { Subscriber } from './subscriber.ts'
import type { CloudRecord, DeadLetterRow, Evidence } from './verdict.ts'
import { countingFunctions, device, type World } from './world.ts'

const pause = (delayMs: number) => new Promise(resolve => setTimeout(resolve, delayMs))

export interface GatherOptions {
  readonly world: World
  readonly publishers: readonly Publisher[]
  readonly online: Subscriber
  readonly offline: Subscriber
  /** How long everything may take to drain. */
  readonly drainWaitMs: number
  /** Cloud records after this index. */
  readonly after: number
  /** What the state counters stood at before. */
  readonly bases: ReadonlyMap<string, number>
}

/** Waits until nothing is queued anywhere, then takes what the cloud and the dead letters hold. */
export async function gather(options: GatherOptions): Promise<{ evidence: Evidence; last: number }> {
  const { world, publishers, online, offline } = options
  await offline.start()
  const deadline = Date.now() + options.drainWaitMs
  let quiet = 0
  for (let last = -1; quiet < 4 && Date.now() < deadline; ) {
    const queued = await queuedRecords(world)
    const seen = online.received.length + offline.received.length
    quiet = queued === 0 && seen === last ? quiet + 1 : 0
    last = seen
    await pause(100)
  }
  const { records, last } = await cloudRecordsAfter(world, options.after)
  const evidence = {
    publishers,
    cloud: records,
    deadLetters: await takeDeadLetters(world),
    subscribers: [
      { subscriber: online, prefix: 'out/' },
      { subscriber: offline, prefix: 'out/count/' },
    ],
    bases: options.bases,
  }
  return { evidence, last }
}

interface Buffers {
  readonly logs: readonly { readonly log: string; readonly records: number }[]
}

/** Records waiting in inboxes, outboxes and sessions. */
async function queuedRecords(world: World): Promise<number> {
  const { logs } = await world.api<Buffers>('/api/v1/buffer')
  return logs
    .filter(({ log }) => /^(inbox|outbox|session)\./.test(log))
    .reduce((sum, { records }) => sum + records, 0)
}

/** What the endpoint itself counted: each record once, and no gap that the loss ledger does not explain. */
export interface EndpointCounts {
  readonly records: number
  readonly duplicates: number
  readonly gaps: number
  readonly lost: number
}

export async function endpointCounts(world: World): Promise<EndpointCounts> {
  const { records, duplicates, gaps, lost } = await world.cloud<EndpointCounts>(`/v1/devices/${device}`)
  return { records, duplicates, gaps, lost }
}

interface StoredEvent {
  readonly index: number
  readonly type: string
  readonly subject: string
  readonly data: CloudRecord['data']
}

/** All records that the endpoint holds, in order of arrival. */
export async function cloudRecords(world: World): Promise<CloudRecord[]> {
  return (await cloudRecordsAfter(world, -1)).records
}

/** Records of the run's own topics after an index, and the index of the last record seen. */
async function cloudRecordsAfter(
  world: World,
  from: number,
): Promise<{ records: CloudRecord[]; last: number }> {
  const records: CloudRecord[] = []
  const limit = 1000
  for (let after = from; ; ) {
    const page = await world.cloud<StoredEvent[]>(
      `/v1/devices/${device}/records?after=${after}&limit=${limit}`,
    )
    for (const event of page) {
      if (event.type === 'fescue.message.v1') records.push({ topic: event.subject, data: event.data })
      after = event.index
    }
    if (page.length === 0) return { records, last: after }
  }
}

interface FunctionRow {
  readonly name: string
  readonly state: string
  readonly reason?: string
  readonly inbox: { readonly records: number }
}

/** Functions that stand still, or have not done their work: a violation in itself, and it explains others. */
export async function functionProblems(world: World): Promise<string[]> {
  const rows = await world.api<FunctionRow[]>('/api/v1/functions')
  const behind = (row: FunctionRow) => row.name in countingFunctions && row.inbox.records > 0
  return rows
    .filter(row => ['disabled', 'detached', 'failed'].includes(row.state) || behind(row))
    .map(
      row =>
        `function ${row.name}: ${row.state} (${row.reason ?? 'no reason'}), ${row.inbox.records} waiting`,
    )
}

interface DeadLetterRowOfApi {
  readonly function: string
  readonly offset: number
  readonly payload: string
}

/** Takes all dead letters, a page at a time; what was taken is dropped. */
async function takeDeadLetters(world: World): Promise<DeadLetterRow[]> {
  const taken: DeadLetterRow[] = []
  for (const name of ['count', 'total']) {
    for (;;) {
      const page = await world.api<DeadLetterRowOfApi[]>(`/api/v1/dead-letters?function=${name}&limit=500`)
      if (page.length === 0) break
      for (const { payload } of page) {
        const input = JSON.parse(payload) as { p: string; n: number }
        taken.push({ function: name, p: input.p, n: input.n })
      }
      const body = JSON.stringify({ function: name, offsets: page.map(({ offset }) => offset) })
      await world.api('/api/v1/dead-letters/drop', { method: 'POST', body })
    }
  }
  return taken
}
