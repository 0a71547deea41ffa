/**
 * Reads a file in order, a window at a time, so that many files can be read side by side in little memory.
 * What the disk does not give (a failing sector) is read as zeros: no checksum takes them for data.
 */
import { type FileHandle, open } from 'node:fs/promises'

export const windowBytes: number = 64 * 1024

export class FileWindow {
  readonly path: string
  readonly size: number
  readonly #file: FileHandle
  #window: Buffer = Buffer.alloc(0)
  #from = 0

  private constructor(path: string, file: FileHandle, size: number) {
    this.path = path
    this.#file = file
    this.size = size
  }

  static async open(path: string): Promise<FileWindow> {
    const file = await open(path, 'r')
    return new FileWindow(path, file, (await file.stat()).size)
  }

  /** Bytes of [from, from + length), fewer at the end of the file. A view that stays as it is. */
  async read(from: number, length: number): Promise<Buffer> {
    const end = Math.min(from + length, this.size)
    if (from >= end) return Buffer.alloc(0)
    if (from < this.#from || end > this.#from + this.#window.length) {
      this.#window = await this.#load(from, Math.min(Math.max(end - from, windowBytes), this.size - from))
      this.#from = from
    }
    return this.#window.subarray(from - this.#from, end - this.#from)
  }

  close(): Promise<void> {
    return this.#file.close()
  }

  async #load(from: number, length: number): Promise<Buffer> {
    const bytes = Buffer.alloc(length)
    const stepBytes = 4096
    try {
      await this.#fill(bytes, from)
    } catch (error) {
      if (!isUnreadable(error)) throw error
      for (let at = 0; at < length; at += stepBytes) {
        await this.#fill(bytes.subarray(at, at + stepBytes), from + at).catch(cause => {
          if (!isUnreadable(cause)) throw cause
        })
      }
    }
    return bytes
  }

  async #fill(bytes: Buffer, from: number): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const { bytesRead } = await this.#file.read(bytes, at, bytes.length - at, from + at)
      if (bytesRead === 0) return
      at += bytesRead
    }
  }
}

const isUnreadable = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'EIO'
