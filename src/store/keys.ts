/**
 * The key space of the database, in order. The first byte says what a key is.
 *
 *   B incarnation u32 · first offset u48   block of records (binary; all others are UTF-8 text)
 *   C incarnation · consumer               checkpoint
 *   D space · NUL · key                    document
 *   G incarnation · from                   damaged range that the ledger knows
 *   I incarnation                          log: its name and limits, a second copy of L
 *   L name                                 log: its incarnation and limits
 *   M incarnation                          mark of a log: head, end, trimmed, open span
 *   N …                                    meta: format, run, epochs, counters
 *   Q key                                  what failed its checksum, put aside
 *   R incarnation                          a removed log whose blocks are still being deleted
 *   S incarnation · first offset           span of a log (bytes, records and times of a run of offsets)
 *   T id                                   timer
 *   W slot                                 numbers of the newest batches, a ring
 */
import type { Incarnation, Offset } from '#base/ids.ts'
import { putU48 } from './bytes.ts'

const blockTag = 0x42

export function blockKey(incarnation: Incarnation, offset: Offset): Buffer {
  const key = Buffer.allocUnsafe(11)
  key[0] = blockTag
  key.writeUInt32BE(incarnation, 1)
  putU48(key, 5, offset)
  return key
}

/** First offset of the block under this key. */
export function blockKeyOffset(key: Buffer): Offset {
  return key.readUIntBE(5, 6)
}

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0')

export const checkpointPrefix = (incarnation: Incarnation): string => `C${hex(incarnation, 8)}`
export const checkpointKey = (incarnation: Incarnation, consumer: string): string =>
  checkpointPrefix(incarnation) + consumer
export const documentPrefix = (space: string): string => `D${space}\0`
export const documentKey = (space: string, key: string): string => `D${space}\0${key}`
export const damagePrefix = (incarnation: Incarnation): string => `G${hex(incarnation, 8)}`
export const damageKey = (incarnation: Incarnation, from: Offset): string =>
  damagePrefix(incarnation) + hex(from, 12)
export const logCopyKey = (incarnation: Incarnation): string => `I${hex(incarnation, 8)}`
export const logKey = (name: string): string => `L${name}`
export const markKey = (incarnation: Incarnation): string => `M${hex(incarnation, 8)}`
export const quarantineKey = (key: string): string => `Q${key}`
export const removedKey = (incarnation: Incarnation): string => `R${hex(incarnation, 8)}`
export const spanPrefix = (incarnation: Incarnation): string => `S${hex(incarnation, 8)}`
export const spanKey = (incarnation: Incarnation, first: Offset): string =>
  spanPrefix(incarnation) + hex(first, 12)
export const timerKey = (id: string): string => `T${id}`

/** Slots of the ring of batch numbers: see `recovery.ts` for what it proves. */
export const batchRingSlots = 16_384
export const batchNumberKey = (batch: number): string => `W${hex(batch % batchRingSlots, 4)}`

export const meta = {
  format: 'Nformat',
  run: 'Nrun',
  epochs: 'Nepochs',
  incarnations: 'Nincarnations',
  losses: 'Nlosses',
  /** Present when this run appended records of class `memory`. */
  volatile: 'Nvolatile',
} as const

/** The smallest key above all keys that start with `prefix` (text prefixes only). */
export function prefixEnd(prefix: string): Buffer {
  const end = Buffer.from(prefix)
  end[end.length - 1] = (end[end.length - 1] ?? 0) + 1
  return end
}

/** Incarnation out of a text key with a one-letter tag. */
export const incarnationOfKey = (key: string): Incarnation => Number.parseInt(key.slice(1, 9), 16)
