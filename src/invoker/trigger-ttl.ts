/** How long a message may wait in an inbox: the `ttl` of the triggers that it matched. */
import { filterMatches } from '#base/topics.ts'
import type { TopicTrigger } from './manifest.ts'

interface Dated {
  readonly topic: string
  readonly time: number
  readonly expiresAt?: number
}

/**
 * Milliseconds since the epoch after which the function does not want the message any more, or undefined. The
 * longest `ttl` of the triggers that match counts, and one without a `ttl` means for ever; the message's own
 * expiry holds in any case.
 */
export function expiryOf(triggers: readonly TopicTrigger[], message: Dated): number | undefined {
  // Most functions have none, and then no filter is looked at.
  if (triggers.every(({ ttlMs }) => ttlMs === undefined)) return message.expiresAt
  let longestMs: number | undefined
  for (const { topic, ttlMs } of triggers) {
    if (!filterMatches(topic, message.topic)) continue
    if (ttlMs === undefined) return message.expiresAt
    longestMs = Math.max(longestMs ?? 0, ttlMs)
  }
  // A revision that is just taking over may not have the filter yet that brought the message.
  if (longestMs === undefined) return message.expiresAt
  return Math.min(message.time + longestMs, message.expiresAt ?? Number.POSITIVE_INFINITY)
}
