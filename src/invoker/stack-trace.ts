/**
 * Brings the lines of a bundle's stack trace back to the author's files.
 *
 *   at handler (thermostat/index.js:23:9)  ──source map of the revision──►  at handler (thermostat/index.ts:7:9)
 */
import { SourceMap } from 'node:module'
import { dirname, join } from 'node:path'
import type { ErrorDocument } from '#sandbox/sandbox.ts'

/** A place in a bundle: `FILE:LINE:COLUMN`, both from 1. */
const placePattern = /([^\s()]+):(\d+):(\d+)/

/** The document with its trace mapped; unchanged without a map or when the map cannot be read. */
export function mapErrorTrace(error: ErrorDocument, map: string | undefined): ErrorDocument {
  if (map === undefined || error.trace.length === 0) return error
  try {
    const sourceMap = new SourceMap(JSON.parse(map))
    return { ...error, trace: error.trace.map(line => mapLine(line, sourceMap)) }
  } catch {
    return error
  }
}

function mapLine(line: string, map: SourceMap): string {
  if (!/^\s*at /.test(line)) return line
  return line.replace(placePattern, (whole, file: string, row: string, column: string) => {
    if (file.startsWith('node:') || file.startsWith('fescue:')) return whole
    const entry = map.findEntry(Number(row) - 1, Number(column) - 1)
    if (!('originalSource' in entry)) return whole
    return `${join(dirname(file), entry.originalSource)}:${entry.originalLine + 1}:${entry.originalColumn + 1}`
  })
}
