/**
 * The memory that a lane shares with the executor: five words of state, then the bytes of records.
 *
 *   | word 0..7 (i32) | wake at (f64) | … | records from byte 128 |
 *
 * What stands there survives the isolate: a finished item's result is kept although the next one loops and the
 * isolate is disposed.
 */

/** Bytes of the shared memory of one lane; pages that are not used take no memory. */
export const regionBytes = 65_536
/** Where records begin. */
export const recordsStart = 128
/** Bytes of records written completely since the last flush, counted from `recordsStart`. */
export const wordWritten = 0
/** Index in the batch of the item in the handler, plus one; 0 for none. */
export const wordCurrent = 1
/** Items of the lane's chunk that were not started. */
export const wordLeft = 2
/** 1: the lane waits to be told to go on (`next`). */
export const wordPaused = 3
/** Host calls without an answer. */
export const wordCalls = 4
/** Byte offset of the f64 that tells when the next timer is due, real ms since the epoch; Infinity for never. */
export const wakeByte = 64
