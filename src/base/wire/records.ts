/**
 * What an isolate writes while it runs: a stream of records, one after the other.
 *
 *   trampoline (guest/output.ts) ──shared memory──► executor ──frame `records`, unchanged──► daemon
 *
 *   result  | 1 | u32 index | f64 startedAt | f64 durationMs | text value | u16 effects | each effect | u16 reads | text key…
 *   failure | 2 | u32 index | text errorType | text errorMessage | u8 lines | text line…
 *   log     | 3 | u32 index | u8 level | text line
 *   read    | 4 | u32 index | u32 call | text key
 *   effect: publish | 1 | u8 qos, retain << 2, binary << 3 | text topic | bytes payload ·  set | 2 | text key | text value  ·  delete | 3 | text key
 *
 * text and bytes are a u32 length and that many bytes; numbers are little endian. The executor only walks
 * over results (`skipRecord`); the daemon decodes them. Both check every bound, since an isolate may have been broken
 * out of (D5). Reads are listed only where lanes run side by side, for the version check.
 */
import type { ByteReader } from './byte-reader.ts'
import { WireError } from './frame.ts'

/** Kinds of records. */
export const recordKind = { result: 1, failure: 2, log: 3, read: 4 } as const
const effectKind = { publish: 1, set: 2, delete: 3 } as const
/** Offset of `durationMs` in a result: the executor, which has the finer clock, fills it in. */
export const durationAt = 13

export type WireEffect =
  | {
      readonly type: 'publish'
      readonly topic: string
      readonly payload: Buffer
      readonly qos: 0 | 1 | 2
      readonly retain: boolean
    }
  | { readonly type: 'set'; readonly key: string; readonly value: string }
  | { readonly type: 'delete'; readonly key: string }

export interface WireErrorDocument {
  readonly errorType: string
  readonly errorMessage: string
  readonly trace: readonly string[]
}

export type WireRecord =
  | {
      readonly kind: 'result'
      readonly index: number
      readonly startedAt: number
      readonly durationMs: number
      readonly value: string
      readonly effects: readonly WireEffect[]
      readonly reads: readonly string[]
    }
  | { readonly kind: 'failure'; readonly index: number; readonly error: WireErrorDocument }
  | { readonly kind: 'log'; readonly index: number; readonly level: LogLevel; readonly text: string }
  | { readonly kind: 'read'; readonly index: number; readonly call: number; readonly key: string }

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'
const levels: readonly LogLevel[] = ['debug', 'info', 'warn', 'error']

function readEffect(reader: ByteReader): WireEffect {
  const kind = reader.u8()
  if (kind === effectKind.publish) {
    const flags = reader.u8()
    const qos = flags & 3
    if (qos === 3) throw new WireError('a publish with QoS 3')
    const topic = reader.text()
    return {
      type: 'publish',
      topic,
      payload: reader.bytes(),
      qos: qos as 0 | 1 | 2,
      retain: (flags & 4) !== 0,
    }
  }
  if (kind === effectKind.set) return { type: 'set', key: reader.text(), value: reader.text() }
  if (kind === effectKind.delete) return { type: 'delete', key: reader.text() }
  throw new WireError(`an effect of kind ${kind}`)
}

function readResult(reader: ByteReader, index: number): WireRecord {
  const startedAt = reader.f64()
  const durationMs = reader.f64()
  const value = reader.text()
  const effects: WireEffect[] = []
  for (let left = reader.u16(); left > 0; left--) effects.push(readEffect(reader))
  const reads: string[] = []
  for (let left = reader.u16(); left > 0; left--) reads.push(reader.text())
  return { kind: 'result', index, startedAt, durationMs, value, effects, reads }
}

/** Decodes the record at the reader. Payloads are views into its bytes. */
export function readRecord(reader: ByteReader): WireRecord {
  const kind = reader.u8()
  const index = reader.u32()
  switch (kind) {
    case recordKind.result:
      return readResult(reader, index)
    case recordKind.failure: {
      const errorType = reader.text()
      const errorMessage = reader.text()
      const trace: string[] = []
      for (let left = reader.u8(); left > 0; left--) trace.push(reader.text())
      return { kind: 'failure', index, error: { errorType, errorMessage, trace } }
    }
    case recordKind.log: {
      const level = levels[reader.u8()]
      if (level === undefined) throw new WireError('a log level out of bounds')
      return { kind: 'log', index, level, text: reader.text() }
    }
    case recordKind.read:
      return { kind: 'read', index, call: reader.u32(), key: reader.text() }
    default:
      throw new WireError(`a record of kind ${kind}`)
  }
}

function skipEffect(reader: ByteReader): void {
  const kind = reader.u8()
  if (kind === effectKind.publish) reader.skip(1)
  reader.skipField()
  if (kind !== effectKind.delete) reader.skipField()
}

/** Passes over the result after its kind and index. */
export function skipResult(reader: ByteReader): void {
  reader.skip(16)
  reader.skipField()
  for (let left = reader.u16(); left > 0; left--) skipEffect(reader)
  for (let left = reader.u16(); left > 0; left--) reader.skipField()
}
