/** A checkpoint's state as bytes: low offset, then ranges and retries as distances, so that most take 10 bytes. */
import { ByteReader, ByteWriter } from './bytes.ts'
import type { CheckpointState, DoneRange, RetryState } from './checkpoint.ts'

const version = 1

export function encodeCheckpoint(state: CheckpointState): Buffer {
  const writer = new ByteWriter(16 + state.done.length * 8 + state.retries.length * 16)
  writer.u8(version)
  writer.u48(state.low)
  writer.varint(state.done.length)
  let last = state.low
  for (const [from, to] of state.done) {
    writer.varint(from - last)
    writer.varint(to - from)
    last = to
  }
  writer.varint(state.retries.length)
  for (const retry of state.retries) {
    writer.u48(retry.offset)
    writer.varint(retry.attempts)
    writer.u48(Math.max(0, Math.floor(retry.nextAt)))
  }
  return writer.result()
}

/** Throws RangeError on bytes that `encodeCheckpoint` did not write. */
export function decodeCheckpoint(bytes: Buffer): CheckpointState {
  const reader = new ByteReader(bytes)
  if (reader.u8() !== version) throw new RangeError('unknown version of a checkpoint')
  const low = reader.u48()
  const done: DoneRange[] = []
  let last = low
  for (let count = reader.varint(); count > 0; count--) {
    const from = last + reader.varint()
    last = from + reader.varint()
    done.push([from, last])
  }
  const retries: RetryState[] = []
  for (let count = reader.varint(); count > 0; count--) {
    const offset = reader.u48()
    const attempts = reader.varint()
    retries.push({ offset, attempts, nextAt: reader.u48() })
  }
  return { low, done, retries }
}
