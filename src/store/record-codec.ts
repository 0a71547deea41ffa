/** Placeholder signature; the codec is written with the store. */
import type { RecordInput } from './record.ts'

export function encodeRecord(_record: RecordInput): Buffer {
  throw new Error('not built yet')
}
export function decodeRecord(_bytes: Buffer): RecordInput {
  throw new Error('not built yet')
}
