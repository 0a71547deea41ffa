/**
 * Puts the parts of a store together over an open database and brings them up.
 *
 *   last run ─► logs, timers ─► epoch ─► tails ─► marker "running" (synced) ─► writer takes transactions
 *
 * Nothing is committed for others before the marker is written: a store that dies while it comes up is found
 * as it was.
 */
import type { Clock } from '#base/clock.ts'
import type { Logger } from '#base/logger.ts'
import type { BackendOperation } from './backend.ts'
import { Epochs } from './epochs.ts'
import { Health } from './health.ts'
import { markKey, meta, spanKey } from './keys.ts'
import { Ledger, type Loss, ledgerLog, ledgerMaxBytes } from './ledger.ts'
import { LocalStore, type LocalStoreParts } from './local-store.ts'
import { LogReader } from './log-reader.ts'
import type { OpenedDatabase } from './opened-database.ts'
import type { Place } from './place.ts'
import { checkTails, holdsBatch, type Recovered, readMeta, recover, type TailFinding } from './recovery.ts'
import { Registry } from './registry.ts'
import { replayJournal } from './replay.ts'
import { newEpochReason, type Run, readRun, writeRun } from './run-marker.ts'
import type { SalvageNote } from './salvage-note.ts'
import { DirectSink, JournaledSink } from './sink.ts'
import type { EpochReason, Store } from './store.ts'
import { TailCache } from './tail-cache.ts'
import { TimerIndex } from './timer-index.ts'
import { Upkeep } from './upkeep.ts'
import { ValueReader } from './value-reader.ts'
import { seal } from './values.ts'
import { Writer } from './writer.ts'

export interface AssemblyOptions {
  readonly folder: string | undefined
  readonly clock: Clock
  readonly logger: Logger
  readonly freeDiskMinBytes?: number
  readonly tailCacheMaxBytes?: number
}

interface Parts extends LocalStoreParts {
  readonly store: LocalStore
}

const freeDiskMinBytesDefault = 256 * 1024 * 1024
const tailCacheMaxBytesDefault = 8 * 1024 * 1024

/** Reads the database and gives a store that takes transactions. */
export async function assemble(opened: OpenedDatabase, options: AssemblyOptions): Promise<Store> {
  const { backend, place } = opened
  const last = await readRun(backend)
  const isGone = last === undefined && !opened.isNew
  const salvaged = opened.salvage !== undefined || isGone || (await isYounger(opened, last))
  const lastBatch = await replayJournal(opened, last, salvaged)
  const epochBytes = await readMeta(backend, meta.epochs)
  const parts = wire(opened, options, lastBatch, epochBytes)
  const { epochs, health, registry, timers, upkeep } = parts
  const recovered = await recover(backend, registry, timers, salvaged)
  const counter = Number((await readMeta(backend, meta.incarnations))?.toString() ?? 0)
  registry.incarnations = Math.max(counter, recovered.incarnation)
  for (const log of registry.all()) epochs.restampInto(log)
  const volatile = (await readMeta(backend, meta.volatile)) !== undefined
  // Where a log that was counted anew really ended is not known.
  const doubtful = salvaged || recovered.recounted.length > 0
  const reason = newEpochReason({ isNew: opened.isNew, salvaged: doubtful, place, last, volatile })
  if (reason !== undefined) epochs.start(reason, registry.all())
  const tails = last === undefined || last.clean ? [] : await checkTails(backend, registry.all())
  await writeRun(backend, runningFrom(place, lastBatch + 1), firstOperations(epochs, tails))
  await opened.endNote?.remove()
  await opened.journal?.begin()
  await report(parts, tails, recovered, { reason, salvage: opened.salvage })
  opened.starts?.watch(options.clock)
  for (const { incarnation, trimmed } of recovered.removed) upkeep.resume(incarnation, trimmed)
  for (const log of registry.all()) if (log.trimmed < log.head) upkeep.trimLater(log)
  upkeep.start()
  await health.watch()
  return parts.store
}

/** Whether the database is behind what it was at its clean end. */
async function isYounger({ backend, endNote }: OpenedDatabase, last: Run | undefined): Promise<boolean> {
  const batch = await endNote?.read()
  if (batch === undefined || batch === 0) return false
  return last?.batch !== batch || !(await holdsBatch(backend, batch))
}

const runningFrom = (place: Place, firstBatch: number): Run => ({ place, clean: false, batch: 0, firstBatch })

function wire(
  { backend, place, journal, endNote, starts, lastSalvage }: OpenedDatabase,
  options: AssemblyOptions,
  lastBatch: number,
  epochBytes: Buffer | undefined,
): Parts {
  const { clock, logger, folder, freeDiskMinBytes = freeDiskMinBytesDefault } = options
  const epochs = epochBytes === undefined ? new Epochs(clock) : Epochs.decode(clock, epochBytes)
  const health = new Health({ folder, freeDiskMinBytes, clock, logger })
  const ledger = new Ledger(clock)
  const timers = new TimerIndex()
  const cache = new TailCache(options.tailCacheMaxBytes ?? tailCacheMaxBytesDefault)
  let firstBatch = lastBatch + 1
  const sink =
    journal === undefined
      ? new DirectSink(backend)
      : new JournaledSink(backend, journal, from => {
          firstBatch = from
          return writeRun(backend, runningFrom(place, from))
        })
  const writer = new Writer({
    backend,
    sink,
    clock,
    logger,
    health,
    lastBatch,
    beforeSeal: batch => registry.enterLosses(batch),
    onWritten: batch => upkeep.written(batch),
  })
  const reader = new LogReader(backend, (log, ranges) => {
    if (writer.closing) return
    void starts?.damaged()
    registry.damaged(writer.openFor(256, 4), log, ranges, 'damaged')
    writer.addUpkeep()
  })
  const registry: Registry = new Registry(
    { ledger, epoch: () => epochs.current, overfull: log => upkeep.overfull(log) },
    {
      cache,
      read: (log, from, limits) => reader.read(log, from, limits),
      limitsChanged: log => {
        const batch = writer.openFor(256, 2)
        registry.describe(batch, log)
        if (log.limits.overflow === 'drop-oldest') registry.dropOldest(batch, log)
        writer.addUpkeep()
      },
    },
  )
  const upkeep: Upkeep = new Upkeep({ backend, clock, logger, ledger, registry, writer })
  const values = new ValueReader(backend, writer, (key, raw) => {
    void starts?.damaged()
    store.setAside(key, raw)
  })
  const finish = async () => {
    const batch = writer.lastBatch
    await writeRun(backend, { place, clean: true, batch, firstBatch })
    await endNote?.write(batch)
    await starts?.ended()
  }
  const parts = {
    backend,
    clock,
    epochs,
    health,
    ledger,
    registry,
    sink,
    timers,
    upkeep,
    values,
    writer,
    finish,
    lastSalvage,
  }
  const store: LocalStore = new LocalStore(parts)
  return { ...parts, store }
}

/** What is written with the marker of the new run. */
function firstOperations(epochs: Epochs, tails: readonly TailFinding[]): BackendOperation[] {
  const operations: BackendOperation[] = tails.flatMap(tail =>
    tail.leftovers.map(key => ({ type: 'del' as const, key })),
  )
  operations.push({ type: 'put', key: Buffer.from(meta.epochs), value: seal(meta.epochs, epochs.encode()) })
  operations.push({ type: 'del', key: Buffer.from(meta.volatile) })
  return operations
}

/** The ledger gets what recovery found, and the sums that the last run had not entered. */
async function report(
  { backend, registry, store, writer }: Parts,
  tails: readonly TailFinding[],
  { damaged, recounted }: Recovered,
  { reason, salvage }: { reason: EpochReason | undefined; salvage: SalvageNote | undefined },
): Promise<void> {
  const batch = writer.openFor(0, 0)
  if (registry.find(ledgerLog) === undefined) {
    registry.create(batch, ledgerLog, { maxBytes: ledgerMaxBytes, overflow: 'drop-oldest' })
  }
  const counts: Loss[] = JSON.parse((await readMeta(backend, meta.losses))?.toString() ?? '[]')
  registry.enter(batch, counts)
  for (const { log, lost } of tails) {
    if (lost !== undefined)
      registry.damaged(batch, log, [lost], reason === 'power-loss' ? 'power' : 'damaged')
  }
  const lostMixedBlocks = salvage?.lostMixedBlocks ?? 0
  if (lostMixedBlocks > 0) {
    // How many small values stood in a lost block is not known: at least one. Records are missed by their offsets.
    const loss = { log: 'documents', incarnation: 0, from: 0, to: 0, records: lostMixedBlocks }
    registry.lose(batch, { ...loss, reason: 'damaged' })
  }
  for (const [key, raw] of damaged) store.setAside(key.toString(), raw)
  for (const { log, spans } of recounted) {
    // After the damaged mark was put aside: its key gets the new one.
    const open = writer.openFor(256, spans.length)
    open.values.delete(markKey(log.incarnation))
    open.touched.add(log)
    for (const { key } of spans) open.values.set(spanKey(log.incarnation, key), undefined)
  }
  writer.addUpkeep()
}
