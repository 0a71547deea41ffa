/**
 * A file of the journal: of fixed size, written full of zeros when it is made, then written over for ever.
 *
 *   magic u32 │ version u16 │ generation u48 │ first batch u48 │ crc32 u32 │ padding to 64 │ frames …
 *
 * Its size never changes again, so a synced frame costs the device its pages and one flush, and no metadata;
 * and a full disk cannot stop it.
 */
import { constants, type FileHandle, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { crc32 } from 'node:zlib'
import { putU48 } from './bytes.ts'
import { type Frame, readFrame, seedOf } from './journal-frame.ts'

export const segmentHeaderBytes = 64
const magic = 0x46534a31
const version = 1
const crcAt = 18
const zeroBytes = 256 * 1024

export class JournalSegment {
  readonly path: string
  readonly #file: FileHandle
  readonly #size: number
  /** 0: never used. */
  generation: number
  firstBatch: number
  /** Where the next frame goes. */
  position = segmentHeaderBytes
  /** Something was written since the last sync. */
  isDirty = false
  /** Bytes that the journal had written when the last batch with a part in here was whole. */
  endsAt = 0

  private constructor(
    path: string,
    file: FileHandle,
    size: number,
    header: { generation: number; firstBatch: number },
  ) {
    this.path = path
    this.#file = file
    this.#size = size
    this.generation = header.generation
    this.firstBatch = header.firstBatch
  }

  /** Makes a segment of zeros, synced with its folder. Errors are the file system's (ENOSPC). */
  static async create(path: string, size: number): Promise<JournalSegment> {
    const file = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC, 0o600)
    try {
      const zeros = Buffer.alloc(Math.min(zeroBytes, size))
      for (let at = 0; at < size; at += zeros.length) {
        await file.write(zeros, 0, Math.min(zeros.length, size - at), at)
      }
      await file.sync()
      await syncFolder(dirname(path))
    } catch (error) {
      await file.close()
      throw error
    }
    return new JournalSegment(path, file, size, { generation: 0, firstBatch: 0 })
  }

  /** Opens what is there, of whatever size; undefined when it holds nothing (a creation cut short). */
  static async open(path: string, expectedSize: number): Promise<JournalSegment | undefined> {
    const file = await open(path, constants.O_RDWR)
    const bytes = Buffer.alloc(segmentHeaderBytes)
    await file.read(bytes, 0, segmentHeaderBytes, 0)
    const { size } = await file.stat()
    const header = readHeader(bytes)
    if (header !== undefined || size === expectedSize) {
      return new JournalSegment(path, file, size, header ?? { generation: 0, firstBatch: 0 })
    }
    await file.close()
    return undefined
  }

  get size(): number {
    return this.#size
  }

  get freeBytes(): number {
    return this.#size - this.position
  }

  /** Begins a new life; `header` goes out with the first frame, in one write. */
  begin(generation: number, firstBatch: number): Buffer {
    this.generation = generation
    this.firstBatch = firstBatch
    this.position = segmentHeaderBytes
    this.isDirty = false
    const header = Buffer.alloc(segmentHeaderBytes)
    header.writeUInt32BE(magic, 0)
    header.writeUInt16BE(version, 4)
    putU48(header, 6, generation)
    putU48(header, 12, firstBatch)
    header.writeUInt32BE(crc32(header.subarray(0, crcAt)), crcAt)
    return header
  }

  /** Writes bytes at a position; the caller moves `position`. */
  async write(bytes: Buffer, at: number): Promise<void> {
    this.isDirty = true
    let done = 0
    while (done < bytes.length) {
      const { bytesWritten } = await this.#file.write(bytes, done, bytes.length - done, at + done)
      done += bytesWritten
    }
  }

  async sync(): Promise<void> {
    await this.#file.datasync()
    this.isDirty = false
  }

  /** The frames of the segment's present life, in order. */
  async frames(): Promise<Frame[]> {
    if (this.generation === 0) return []
    const bytes = Buffer.allocUnsafe(this.#size)
    const { bytesRead } = await this.#file.read(bytes, 0, this.#size, 0)
    bytes.fill(0, bytesRead)
    const seed = seedOf(this.generation)
    const frames: Frame[] = []
    for (let at = segmentHeaderBytes; ; ) {
      const frame = readFrame(bytes, at, seed)
      if (frame === undefined) return frames
      frames.push(frame)
      at += frame.bytes
    }
  }

  close(): Promise<void> {
    return this.#file.close()
  }
}

function readHeader(header: Buffer): { generation: number; firstBatch: number } | undefined {
  if (header.readUInt32BE(0) !== magic || header.readUInt16BE(4) !== version) return undefined
  if (crc32(header.subarray(0, crcAt)) !== header.readUInt32BE(crcAt)) return undefined
  return { generation: header.readUIntBE(6, 6), firstBatch: header.readUIntBE(12, 6) }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY)
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
