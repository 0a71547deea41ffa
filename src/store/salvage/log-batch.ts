/**
 * A batch as LevelDB's log holds it.
 *
 *   sequence u64 │ count u32 │ { type u8 │ key length, key │ value length, value (not for a tombstone) } …
 */
import type { BackendOperation } from '../backend.ts'
import { ByteReader } from '../bytes.ts'

const headBytes = 12

/** The operations of a batch; undefined when these bytes are none. */
export function batchOperations(record: Buffer): BackendOperation[] | undefined {
  if (record.length < headBytes) return undefined
  const reader = new ByteReader(record, headBytes)
  const operations: BackendOperation[] = []
  try {
    while (!reader.atEnd) {
      const type = reader.u8()
      if (type > 1) return undefined
      const key = reader.blob()
      operations.push(type === 1 ? { type: 'put', key, value: reader.blob() } : { type: 'del', key })
    }
  } catch {
    return undefined
  }
  return operations.length === record.readUInt32LE(8) ? operations : undefined
}
