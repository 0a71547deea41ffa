/** A store whose every value follows from its place, so that a reader knows which one is wrong or missing. */
import { systemClock } from '#base/clock.ts'
import { type Logger, silentLogger } from '#base/logger.ts'
import type { Backend } from '#store/backend.ts'
import { openStore, type StoreOptions } from '#store/open.ts'
import type { SalvageNote } from '#store/salvage-note.ts'
import type { LedgerEntry } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'
import { payloads, record, wide } from '../conformance/store-suite.ts'

const count = 3_000
export const textOf = (index: number): string => `record ${index} `.padEnd(120, String(index % 10))

export const optionsOf = (folder: string, logger: Logger = silentLogger): StoreOptions => ({
  folder,
  clock: systemClock,
  logger,
  freeDiskMinBytes: 0,
  tailCacheMaxBytes: 0,
  writeBufferBytes: 128 * 1024,
  journalSegmentBytes: 128 * 1024,
})

export async function fill(folder: string): Promise<void> {
  await using store = await openStore(optionsOf(folder))
  const log = store.log('a', wide)
  for (let from = 0; from < count; from += 20) {
    const tx = new Transaction().require('process')
    for (let index = from; index < from + 20; index++) tx.append(log, record(textOf(index)))
    tx.put('s', `k${from}`, Buffer.from(`value ${from}`))
    await store.write(tx)
  }
}

export interface Verdict {
  readonly wrong: number
  /** Records that are not there. */
  readonly missing: number
  /** Those of the missing that the ledger names. */
  readonly explained: number
  /** Documents that are not there. */
  readonly withoutDocument: number
  /** What was done about a damaged database. */
  readonly salvage: SalvageNote | undefined
}

/** Opens the store, lets LevelDB compact all of it if wanted, reads it and closes it. */
export async function judge(folder: string, options: { readonly compact: boolean }): Promise<Verdict> {
  let backend: Backend | undefined
  await using store = await openStore({
    ...optionsOf(folder),
    wrapBackend: inner => {
      backend = inner
      return inner
    },
  })
  // LevelDB refuses a compaction that meets damage, if it sees it: reading goes on.
  if (options.compact) await backend?.compactRange(Buffer.from([0]), Buffer.alloc(16, 0xff)).catch(() => {})
  const log = store.findLog('a')
  let wrong = 0
  const seen = new Set<number>()
  for (let at = log?.head ?? 0; log !== undefined && at < log.end; ) {
    const { records, next } = await log.read(at, { maxRecords: 1_000, maxBytes: 1e7 })
    if (next <= at) throw new Error(`stands still at ${at}`)
    for (const item of records) {
      seen.add(item.offset)
      if (item.payload.toString() !== textOf(item.offset)) wrong += 1
    }
    at = next
  }
  let withoutDocument = 0
  for (let from = 0; from < count; from += 20) {
    const value = await store.get('s', `k${from}`)
    if (value === undefined) withoutDocument += 1
    else if (value.toString() !== `value ${from}`) wrong += 1
  }
  await store.sync()
  const entries: LedgerEntry[] = (await payloads(store, 'ledger')).map(text => JSON.parse(text))
  let missing = 0
  let explained = 0
  for (let offset = 0; offset < (log?.end ?? 0); offset++) {
    if (seen.has(offset)) continue
    missing += 1
    if (entries.some(entry => entry.log === 'a' && offset >= entry.from && offset < entry.to)) explained += 1
  }
  return { wrong, missing, explained, withoutDocument, salvage: store.lastSalvage }
}
