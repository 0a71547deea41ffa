/**
 * Sizes and times as people write them in config files and manifests, and back.
 *
 * `64MiB`, `1.5 GB`, `512` (bytes) · `250ms`, `10s`, `5m`, `1h`, `7d`, `1h30m`, `500` (milliseconds). The
 * patterns are for JSON schemas, so that an editor checks what the daemon checks.
 */

/** For `pattern` in a schema: a byte size written as text. */
export const byteSizePattern = '^\\d+(\\.\\d+)? ?(k|[KMGT]i?)?B?$'
/** For `pattern` in a schema: a duration written as text. */
export const durationPattern = '^(\\d+(\\.\\d+)? ?(ms|s|m|h|d) ?)+$|^\\d+$'

const byteUnits: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  K: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
}

const durationUnits: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

/** Bytes, or undefined when the text is no size. A bare number is bytes; k, M, G are powers of 1000, Ki … of 1024. */
export function parseBytes(value: string | number): number | undefined {
  if (typeof value === 'number') return wholeOf(value)
  const match = /^(\d+(?:\.\d+)?) ?(k|[KMGT]i?)?B?$/.exec(value)
  if (match === null) return undefined
  return wholeOf(Number(match[1]) * (byteUnits[match[2] ?? ''] ?? Number.NaN))
}

/** Milliseconds, or undefined when the text is no duration. A bare number is milliseconds. */
export function parseDuration(value: string | number): number | undefined {
  if (typeof value === 'number') return wholeOf(value)
  if (/^\d+$/.test(value)) return wholeOf(Number(value))
  if (!new RegExp(durationPattern).test(value)) return undefined
  let totalMs = 0
  for (const [, amount, unit] of value.matchAll(/(\d+(?:\.\d+)?) ?(ms|s|m|h|d)/g))
    totalMs += Number(amount) * (durationUnits[unit ?? ''] ?? Number.NaN)
  return wholeOf(totalMs)
}

/** The shortest exact text of a byte size: `64MiB`, `1500B`. */
export function bytesText(bytes: number): string {
  for (const unit of ['Ti', 'Gi', 'Mi', 'Ki']) {
    const size = byteUnits[unit] ?? 1
    if (bytes >= size && bytes % size === 0) return `${bytes / size}${unit}B`
  }
  return `${bytes}B`
}

/** The shortest exact text of a duration: `7d`, `90s`, `250ms`. */
export function durationText(durationMs: number): string {
  for (const unit of ['d', 'h', 'm', 's']) {
    const size = durationUnits[unit] ?? 1
    if (durationMs >= size && durationMs % size === 0) return `${durationMs / size}${unit}`
  }
  return `${durationMs}ms`
}

/** Rounds to a whole number; undefined for what is negative, not finite or past exact integers. */
function wholeOf(value: number): number | undefined {
  const whole = Math.round(value)
  return whole >= 0 && Number.isSafeInteger(whole) ? whole : undefined
}
