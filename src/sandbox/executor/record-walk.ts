/**
 * Walks over the records that an entry wrote: what finished, what failed, and what goes on to the daemon.
 *
 * Bytes may end within a record when the isolate was disposed while it wrote: what is whole counts.
 */
import { ByteReader } from '#base/wire/byte-reader.ts'
import type { ErrorBody } from '#base/wire/executor-protocol.ts'
import { WireError } from '#base/wire/frame.ts'
import { durationAt, readRecord, recordKind, skipResult } from '#base/wire/records.ts'

/** Bytes from which on a part ends with its record: parts travel in frames, and those have a bound. */
const partBytes = 1_048_576
/** What two readings of a clock that counts whole milliseconds cannot tell from nothing. */
const clockStepsMs = 2

export interface Walked {
  /** Whole records to send on, failures left out. */
  readonly parts: readonly Buffer[]
  readonly results: number
  readonly failure: { readonly index: number; readonly error: ErrorBody } | undefined
}

interface Span {
  readonly kind: number
  readonly from: number
  readonly to: number
}

/** One record passed over, or undefined when the bytes end before it does. */
function nextSpan(bytes: Buffer, from: number): Span | undefined {
  const reader = new ByteReader(bytes, from)
  try {
    const kind = bytes[from] ?? 0
    if (kind === recordKind.result) {
      reader.skip(5)
      skipResult(reader)
    } else readRecord(reader)
    return { kind, from, to: reader.at }
  } catch (error) {
    if (error instanceof WireError) return undefined
    throw error
  }
}

/**
 * With `keep: 'logs'` results do not go on. `elapsedMs` is what the whole entry took: results that say 0 ms, because the isolate's clock counts whole
 * milliseconds, share it evenly.
 */
export function walkRecords(bytes: Buffer, elapsedMs: number, keep: 'all' | 'logs' = 'all'): Walked {
  const parts: Buffer[] = []
  const durations: number[] = []
  let failure: Walked['failure']
  let results = 0
  let partFrom = 0
  let at = 0
  while (at < bytes.length) {
    const span = nextSpan(bytes, at)
    if (span === undefined) break
    at = span.to
    if (span.kind === recordKind.result) {
      results++
      if (bytes.readDoubleLE(span.from + durationAt) < clockStepsMs) durations.push(span.from + durationAt)
    }
    if (span.kind === recordKind.failure) {
      const record = readRecord(new ByteReader(bytes, span.from))
      if (record.kind === 'failure') failure ??= { index: record.index, error: record.error }
    }
    if (span.kind === recordKind.failure || (keep === 'logs' && span.kind !== recordKind.log)) {
      if (span.from > partFrom) parts.push(bytes.subarray(partFrom, span.from))
      partFrom = span.to
    } else if (at - partFrom >= partBytes) {
      parts.push(bytes.subarray(partFrom, at))
      partFrom = at
    }
  }
  if (at > partFrom) parts.push(bytes.subarray(partFrom, at))
  for (const position of durations) bytes.writeDoubleLE(Math.min(clockStepsMs, elapsedMs / results), position)
  return { parts, results, failure }
}

/** How many items an entry has had in hand: those that wrote a record, and the one in the handler (-1: none). */
export function involved({ results, failure }: Walked, current: number): number {
  return results + (failure === undefined ? 0 : 1) + (current >= 0 ? 1 : 0)
}
