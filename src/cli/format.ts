/** Numbers, times and payloads as people read them. Machines get `--json`. */

const byteUnits = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

export function formatBytes(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < byteUnits.length - 1) {
    value /= 1024
    unit += 1
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${byteUnits[unit]}`
}

/** 1,234 */
export function formatCount(count: number): string {
  return count.toLocaleString('en-US')
}

/** A rate a second: 0, 0.3, 12, 1,240. */
export function formatRate(perSecond: number): string {
  if (perSecond >= 10) return formatCount(Math.round(perSecond))
  return perSecond < 0.05 ? '0' : perSecond.toFixed(1)
}

/** The two largest units of a span: 41d 3h, 2h 45m, 12s, 850ms. */
export function formatDuration(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))}ms`
  const seconds = Math.floor(ms / 1_000)
  const parts: [number, string][] = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3_600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
  ]
  const first = parts.findIndex(([value]) => value > 0)
  const shown = parts.slice(first, first + 2).filter(([value], i) => i === 0 || value > 0)
  return shown.map(([value, unit]) => `${value}${unit}`).join(' ')
}

/** Local time of day: 14:32:07.412. */
export function formatTime(time: number): string {
  const date = new Date(time)
  const two = (value: number) => String(value).padStart(2, '0')
  const clock = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':')
  return `${clock}.${String(date.getMilliseconds()).padStart(3, '0')}`
}

/** How long ago, or `never`. */
export function formatAgo(time: number | undefined | null, now: number): string {
  return typeof time === 'number' ? `${formatDuration(now - time)} ago` : 'never'
}

/** A payload in one short line: control characters are shown, not obeyed. */
export function formatPayload(payload: string, charactersMax = 60): string {
  const visible = payload.replace(/\p{Cc}/gu, character => JSON.stringify(character).slice(1, -1))
  const shown = visible.replace(/[\u007f-\u009f]/g, '?')
  return shown.length > charactersMax ? `${shown.slice(0, charactersMax - 1)}…` : shown
}

/** A config value: a text as it stands, anything else as JSON. */
export function valueText(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
}
