/** Durations and sizes as people write them in YAML: `3s`, `500ms`, `32MiB`; a bare number is ms or bytes. */

const durationUnitsMs: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}
const sizeUnitsBytes: Readonly<Record<string, number>> = {
  B: 1,
  KB: 1e3,
  KiB: 2 ** 10,
  MB: 1e6,
  MiB: 2 ** 20,
  GB: 1e9,
  GiB: 2 ** 30,
}

/** For JSON Schemas: what `parseDuration` takes as text. */
export const durationPattern = '^[0-9]+(\\.[0-9]+)? ?(ms|s|m|h|d)$'
/** For JSON Schemas: what `parseSize` takes as text. */
export const sizePattern = '^[0-9]+(\\.[0-9]+)? ?(B|KB|KiB|MB|MiB|GB|GiB)$'

/** Milliseconds, or undefined when the text is no duration. */
export function parseDuration(value: number | string): number | undefined {
  return parse(value, durationUnitsMs)
}

/** Bytes, or undefined when the text is no size. */
export function parseSize(value: number | string): number | undefined {
  return parse(value, sizeUnitsBytes)
}

function parse(value: number | string, units: Readonly<Record<string, number>>): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) && value >= 0 ? Math.round(value) : undefined
  const match = /^(\d+(?:\.\d+)?) ?([A-Za-z]+)$/.exec(value.trim())
  const factor = units[match?.[2] ?? '']
  return match === null || factor === undefined ? undefined : Math.round(Number(match[1]) * factor)
}
