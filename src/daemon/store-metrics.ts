/** The store as metrics: read when they are scraped, so they cost nothing in between. */
import type { Metrics } from '#base/metrics.ts'
import type { CommitLog } from '#store/commit-log.ts'
import type { Store } from '#store/store.ts'

export function observeStore(metrics: Metrics, store: Store): void {
  const one = (value: number) => [{ labels: {}, value }]
  const perLog = (read: (log: CommitLog) => number) => () =>
    [...store.logs()].map(log => ({ labels: { log: log.name }, value: read(log) }))
  metrics.collect(
    'fescue_log_records',
    'Records kept in a log.',
    ['log'],
    perLog(log => log.records),
  )
  metrics.collect(
    'fescue_log_bytes',
    'Bytes kept in a log.',
    ['log'],
    perLog(log => log.bytes),
  )
  metrics.collect(
    'fescue_lost_records_total',
    'Records lost since the start, by reason; see the loss ledger.',
    ['reason'],
    () => Object.entries(store.stats.lost).map(([reason, value]) => ({ labels: { reason }, value })),
  )
  metrics.collect('fescue_store_batches_total', 'Batches written.', [], () => one(store.stats.batches))
  metrics.collect('fescue_store_syncs_total', 'Batches synced to the disk.', [], () => one(store.stats.syncs))
  metrics.collect('fescue_store_degraded', '1 while the disk is full or failing.', [], () =>
    one(store.health.state === 'ok' ? 0 : 1),
  )
}
