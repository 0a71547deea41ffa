/** The uplink's states as the API names them. */
import type { UplinkInfo } from '#api/backend.ts'
import type { LinkState, LinkStatus } from '#uplink/status.ts'

type Shown = Pick<UplinkInfo, 'state' | 'reason'>

/** `offline` is both a cut on purpose and a receiver that cannot be reached: the reason tells them apart. */
export function linkStateOf(link: LinkState): Shown {
  switch (link.state) {
    case 'connected':
    case 'connecting':
      return { state: link.state }
    case 'refused':
      return { state: 'refused', reason: link.reason }
    case 'offline':
      return { state: 'connecting', reason: link.reason }
    case 'cut':
      return { state: 'offline', reason: 'cut on purpose' }
    case 'stopped':
      return { state: 'offline', reason: 'stopping' }
  }
}

export function uplinkInfo(status: LinkStatus): UplinkInfo {
  const { uplink, link, lastAckAt, queuedRecords, queuedBytes, oldestAt, drainSeconds } = status
  return {
    name: uplink,
    ...linkStateOf(link),
    records: queuedRecords,
    bytes: queuedBytes,
    ...(lastAckAt !== undefined && { lastAckAt }),
    ...(oldestAt !== undefined && { oldestAt }),
    ...(drainSeconds !== undefined && { drainMs: Math.round(drainSeconds * 1000) }),
  }
}
