/**
 * The journal under the writer: what makes a batch safe against power loss, while LevelDB beside it writes
 * unsynced.
 *
 *   batch ─┬─► journal frame, fdatasync ──┐
 *          └─► LevelDB, unsynced ─────────┴─► both done: committed
 *
 *   segments:  [ oldest ][ … ][ … ][ current ]      recycled once 3 write buffers of batches lie above it:
 *                                                   then LevelDB has flushed those batches to synced tables
 *
 * All batches are here in order, those that need no sync too, so a synced frame makes all before it safe.
 * Whoever recovers puts the frames that the database lacks into it again, in order.
 */
import { mkdir, readdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { BackendOperation } from './backend.ts'
import {
  frameHeaderBytes,
  operationsBytes,
  readOperations,
  sealFrame,
  seedOf,
  writeOperations,
} from './journal-frame.ts'
import { JournalSegment, segmentHeaderBytes } from './journal-segment.ts'

export interface JournalOptions {
  readonly folder: string
  /** Bytes of batches that stay behind the newest. */
  readonly keepBytes: number
  readonly segmentBytes?: number
}

/** A batch read back. */
export interface JournalBatch {
  readonly number: number
  readonly operations: BackendOperation[]
}

export const journalSegmentBytes: number = 4 * 1024 * 1024
/**
 * Segments that stay (D6): `keepBytes` in 5 of them, and one transaction of the largest size. A row of
 * `largeBatches` such transactions makes more, until the next start.
 */
export const journalSegmentsMax = 12
/**
 * A batch counts for at most one of so many parts of `keepBytes`: LevelDB's write buffer takes a batch of any
 * size before it is full, and what was in it before is still unsynced then.
 */
const largeBatches = 6
const namePattern = /^\d{6,}\.journal$/
/** The frame buffer is kept between batches up to this size. */
const scratchMaxBytes = 1.25 * 1024 * 1024

export class Journal {
  readonly #folder: string
  readonly #keepBytes: number
  readonly #segmentBytes: number
  /** Oldest first; the last is written. */
  readonly #segments: JournalSegment[] = []
  readonly #spare: JournalSegment[] = []
  #making: Promise<void> | undefined
  #generation = 0
  /** Bytes of frames ever written, large batches counted in part. */
  #written = 0
  #names = 0
  #scratch = Buffer.allocUnsafe(64 * 1024)

  private constructor({ folder, keepBytes, segmentBytes = journalSegmentBytes }: JournalOptions) {
    this.#folder = folder
    this.#keepBytes = keepBytes
    this.#segmentBytes = segmentBytes
  }

  /** Opens or creates the folder. Nothing is written before `begin`. */
  static async open(options: JournalOptions): Promise<Journal> {
    const journal = new Journal(options)
    await mkdir(options.folder, { recursive: true, mode: 0o700 })
    for (const name of (await readdir(options.folder)).sort()) await journal.#adopt(name)
    journal.#segments.sort((a, b) => a.generation - b.generation)
    return journal
  }

  get segments(): number {
    return this.#segments.length + this.#spare.length
  }

  /**
   * Whole batches from `first` on, in order, up to the first that is missing or torn. Of a batch that was written
   * again (after an error, or in a later life) the later one counts.
   */
  async *batches(first: number): AsyncGenerator<JournalBatch> {
    const untils = await this.#untils()
    let last: number | undefined
    let parts: Buffer[] = []
    for (const [index, segment] of this.#segments.entries()) {
      for (const frame of await segment.frames()) {
        if (frame.number < first || frame.number >= (untils[index] ?? 0)) continue
        // What was begun before an error and then written again as a whole starts anew.
        if (frame.starts) parts = []
        const continues = parts.length > 0 && !frame.starts && frame.number === (last ?? 0) + 1
        const follows = frame.starts && (last === undefined || frame.number === last + 1)
        if (!continues && !follows) return
        parts.push(frame.payload)
        if (!frame.ends) {
          last ??= frame.number - 1
          continue
        }
        const payload = parts.length === 1 ? (parts[0] ?? Buffer.alloc(0)) : Buffer.concat(parts)
        parts = []
        last = frame.number
        yield { number: frame.number, operations: readOperations(payload) }
      }
    }
  }

  /** For each segment the batch from which on a later one is the one to read. */
  async #untils(): Promise<number[]> {
    const untils: number[] = []
    let until = Number.POSITIVE_INFINITY
    for (let index = this.#segments.length - 1; index >= 0; index--) {
      untils[index] = until
      const [frame] = (await this.#segments[index]?.frames()) ?? []
      // A segment that goes on with a batch takes nothing from the one in which that began.
      if (frame !== undefined) until = Math.min(until, frame.starts ? frame.number : frame.number + 1)
    }
    return untils
  }

  /** All that is there is obsolete: the database has it, synced. Batches from now on are written over it. */
  async begin(): Promise<void> {
    const all = this.#segments.splice(0)
    for (const segment of all) {
      const isWanted = segment.size === this.#segmentBytes && this.#spare.length < journalSegmentsMax
      if (isWanted) this.#spare.push(segment)
      else await remove(segment)
    }
  }

  /** After an error: the kernel may have dropped pages that it could not write, so no file is used again. */
  async discard(): Promise<void> {
    await this.#making?.catch(() => {})
    const all = [...this.#segments.splice(0), ...this.#spare.splice(0)]
    for (const segment of all) await remove(segment)
  }

  /** Writes a batch; with `sync` it and all before it are safe when this resolves. */
  async append(number: number, operations: readonly BackendOperation[], sync: boolean): Promise<void> {
    const payloadBytes = operationsBytes(operations)
    const capacity = this.#segmentBytes - segmentHeaderBytes - frameHeaderBytes
    if (payloadBytes <= capacity) {
      const buffer = this.#buffer(frameHeaderBytes + payloadBytes)
      writeOperations(buffer, frameHeaderBytes, operations)
      await this.#write(buffer, { number, starts: true, ends: true })
    } else {
      await this.#writeParts(number, operations, payloadBytes, capacity)
    }
    this.#written += Math.min(frameHeaderBytes + payloadBytes, this.#keepBytes / largeBatches)
    // What a segment holds is needed until enough lies above the end of its last batch, all parts of it.
    for (let index = this.#segments.length - 1; index >= 0; index--) {
      const segment = this.#segments[index]
      if (segment === undefined || segment.endsAt <= this.#written) break
      segment.endsAt = this.#written
    }
    if (sync) await this.#segments.at(-1)?.sync()
    this.#prepare()
  }

  async close(): Promise<void> {
    await this.#making?.catch(() => {})
    await Promise.allSettled([...this.#segments, ...this.#spare].map(segment => segment.close()))
  }

  async #writeParts(
    number: number,
    operations: readonly BackendOperation[],
    payloadBytes: number,
    capacity: number,
  ): Promise<void> {
    const payload = Buffer.allocUnsafe(payloadBytes)
    writeOperations(payload, 0, operations)
    for (let at = 0; at < payloadBytes; at += capacity) {
      const part = payload.subarray(at, at + capacity)
      const buffer = Buffer.concat([Buffer.alloc(frameHeaderBytes), part])
      await this.#write(buffer, { number, starts: at === 0, ends: at + capacity >= payloadBytes })
    }
  }

  /** Seals a frame whose payload is in `buffer` and writes it to the current segment, or a new one. */
  async #write(buffer: Buffer, frame: { number: number; starts: boolean; ends: boolean }): Promise<void> {
    let segment = this.#segments.at(-1)
    let header: Buffer | undefined
    if (segment === undefined || segment.freeBytes < buffer.length) {
      if (segment?.isDirty) await segment.sync()
      segment = await this.#next()
      this.#generation += 1
      header = segment.begin(this.#generation, frame.number)
      this.#segments.push(segment)
    }
    sealFrame(
      buffer,
      0,
      { ...frame, payloadBytes: buffer.length - frameHeaderBytes },
      seedOf(segment.generation),
    )
    const at = segment.position
    segment.position += buffer.length
    segment.endsAt = Number.POSITIVE_INFINITY
    if (header === undefined) await segment.write(buffer, at)
    else await segment.write(Buffer.concat([header, buffer]), 0)
  }

  /** A segment to write: the oldest when enough lies above it, else a spare or new one. */
  async #next(): Promise<JournalSegment> {
    const oldest = this.#recyclable()
    if (oldest !== undefined) {
      this.#segments.shift()
      return oldest
    }
    await this.#making
    return this.#spare.shift() ?? (await this.#make())
  }

  #recyclable(): JournalSegment | undefined {
    const oldest = this.#segments[0]
    if (oldest === undefined || this.#segments.length < 2) return undefined
    return this.#written - oldest.endsAt >= this.#keepBytes ? oldest : undefined
  }

  /** Makes the next segment ahead of its need, so that no commit waits for its zeros. */
  #prepare(): void {
    const current = this.#segments.at(-1)
    const isNeeded = current !== undefined && current.freeBytes < this.#segmentBytes / 2
    if (!isNeeded || this.#spare.length > 0 || this.#making !== undefined) return
    const oldestEndsAt = this.#segments.length < 2 ? this.#written : (this.#segments[0]?.endsAt ?? 0)
    const isRecyclableInTime = this.#written + current.freeBytes - oldestEndsAt >= this.#keepBytes
    if (isRecyclableInTime || this.segments >= journalSegmentsMax) return
    this.#making = this.#make().then(
      segment => {
        this.#spare.push(segment)
        this.#making = undefined
      },
      () => {
        this.#making = undefined // The commit that needs it will meet the error itself.
      },
    )
  }

  #make(): Promise<JournalSegment> {
    this.#names += 1
    return JournalSegment.create(
      join(this.#folder, `${String(this.#names).padStart(6, '0')}.journal`),
      this.#segmentBytes,
    )
  }

  async #adopt(name: string): Promise<void> {
    if (!namePattern.test(name)) return
    const path = join(this.#folder, name)
    this.#names = Math.max(this.#names, Number.parseInt(name, 10) || 0)
    const segment = await JournalSegment.open(path, this.#segmentBytes)
    if (segment === undefined) {
      await unlink(path)
      return
    }
    this.#generation = Math.max(this.#generation, segment.generation)
    if (segment.generation === 0) this.#spare.push(segment)
    else this.#segments.push(segment)
  }

  #buffer(bytes: number): Buffer {
    if (bytes > scratchMaxBytes) return Buffer.allocUnsafe(bytes)
    if (this.#scratch.length < bytes) this.#scratch = Buffer.allocUnsafe(Math.min(bytes * 2, scratchMaxBytes))
    return this.#scratch.subarray(0, bytes)
  }
}

async function remove(segment: JournalSegment): Promise<void> {
  await segment.close().catch(() => {})
  await unlink(segment.path).catch(() => {})
}
