/** How the links stand, read from their logs and counters when somebody asks. */
import type { Metrics } from '#base/metrics.ts'
import type { UplinkConfig } from '#config/device-config.ts'
import type { Link } from './link.ts'
import type { OpenRoute } from './routes.ts'
import type { LinkStatus } from './status.ts'

export interface OpenLink {
  readonly link: Link
  readonly config: UplinkConfig
  readonly routes: readonly OpenRoute[]
}

/** For `status`, the metrics and `buffer`. */
export function statusOf({ link, config, routes }: OpenLink): LinkStatus {
  const { recordsPerS, ...counts } = link.counts
  let queuedRecords = 0
  let queuedBytes = 0
  let oldestAt: number | undefined
  for (const { outbox } of routes) {
    queuedRecords += outbox.records
    queuedBytes += outbox.log.bytes
    if (outbox.records > 0)
      oldestAt = Math.min(
        oldestAt ?? Number.POSITIVE_INFINITY,
        outbox.log.oldestAt ?? Number.POSITIVE_INFINITY,
      )
  }
  return {
    uplink: link.name,
    url: config.url,
    link: link.state,
    ...counts,
    queuedRecords,
    queuedBytes,
    oldestAt: oldestAt === Number.POSITIVE_INFINITY ? undefined : oldestAt,
    drainSeconds: recordsPerS === 0 ? undefined : Math.ceil(queuedRecords / recordsPerS),
    logs: routes.map(({ name, filter, outbox }) => ({
      log: outbox.key,
      route: name,
      filter: name === undefined ? undefined : filter,
      stored: outbox.log,
      priority: outbox.priority,
      records: outbox.records,
      bytes: outbox.log.bytes,
      oldestAt: outbox.log.oldestAt,
      acknowledged: outbox.low,
      perSecond: outbox.perSecond,
    })),
  }
}

export function observeLinks(metrics: Metrics, links: () => readonly OpenLink[]): void {
  const of = (read: (link: OpenLink) => number) => () =>
    links().map(open => ({ labels: { uplink: open.link.name }, value: read(open) }))
  metrics.collect(
    'fescue_uplink_connected',
    'Whether the link stands (1) or not (0).',
    ['uplink'],
    of(({ link }) => (link.state.state === 'connected' ? 1 : 0)),
  )
  metrics.collect(
    'fescue_uplink_queued_records',
    'Records that wait for the receiver.',
    ['uplink'],
    of(open => statusOf(open).queuedRecords),
  )
  metrics.collect(
    'fescue_uplink_sent_records',
    'Records acknowledged by the receiver since the start.',
    ['uplink'],
    of(({ link }) => link.counts.sentRecords),
  )
}
