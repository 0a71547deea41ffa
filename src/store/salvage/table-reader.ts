/**
 * The entries of one table in its order, block by block, what cannot be read left out and counted.
 *
 *   internal key   key │ type u8 (0 tombstone, 1 value) and sequence number u56, little-endian
 */
import { FileWindow } from './file-window.ts'
import { Findings } from './findings.ts'
import { blockEntries, type RawEntry, readBlock, trailerBytes } from './table-block.ts'
import { type FoundBlocks, findBlocks, type IndexedBlock } from './table-index.ts'

/** A version of a key. */
export interface Version {
  readonly key: Buffer
  /** The higher is the newer. */
  readonly sequence: number
  /** Undefined: the key was deleted. */
  readonly value: Buffer | undefined
}

const suffixBytes = 8
const blockTag = 0x42

export class TableReader {
  readonly #file: FileWindow
  readonly #found: FoundBlocks
  readonly #findings: Findings
  #next = 0
  #last: Buffer | undefined

  private constructor(file: FileWindow, found: FoundBlocks, findings: Findings) {
    this.#file = file
    this.#found = found
    this.#findings = findings
  }

  static async open(path: string, findings: Findings): Promise<TableReader> {
    const file = await FileWindow.open(path)
    try {
      return new TableReader(file, await findBlocks(file, findings), findings)
    } catch (error) {
      await file.close()
      throw error
    }
  }

  /** What may have the smallest key: the first block's first, or empty when that cannot be read. */
  static async smallestKey(path: string): Promise<Buffer> {
    const reader = await TableReader.open(path, new Findings())
    try {
      return (await reader.#read(reader.#found.blocks[0]))?.[0]?.key ?? Buffer.alloc(0)
    } finally {
      await reader.close()
    }
  }

  get isIndexed(): boolean {
    return this.#found.isIndexed
  }

  /** The versions of the next block that can be read; undefined at the end. */
  async next(): Promise<Version[] | undefined> {
    for (;;) {
      const block = this.#found.blocks[this.#next]
      this.#next += 1
      if (block === undefined) return this.#end()
      const versions = await this.#read(block)
      if (versions === undefined) {
        this.#findings.lost(block.size + trailerBytes, this.#isMixed(block.upTo))
        continue
      }
      this.#last = versions.at(-1)?.key ?? this.#last
      if (versions.length > 0) return versions
    }
  }

  close(): Promise<void> {
    return this.#file.close()
  }

  #end(): undefined {
    if (this.#next > this.#found.blocks.length + 1 || this.#found.isWhole) return undefined
    const read = this.#found.blocks.reduce((end, { offset, size }) => Math.max(end, offset + size), 0)
    this.#findings.lost(this.#file.size - read, true)
    return undefined
  }

  async #read(block: IndexedBlock | undefined): Promise<Version[] | undefined> {
    const bytes = block && (await readBlock(this.#file, block, this.#findings))
    const entries = bytes && blockEntries(bytes)
    return entries?.map(versionOf).filter(version => version !== undefined)
  }

  /** Between two blocks of a log's records lie only such. */
  #isMixed(upTo: Buffer | undefined): boolean {
    return this.#last?.[0] !== blockTag || upTo?.[0] !== blockTag
  }
}

function versionOf({ key, value }: RawEntry): Version | undefined {
  const end = key.length - suffixBytes
  const type = key[end]
  if (end < 0 || type === undefined || type > 1) return undefined
  const sequence = key.readUInt32LE(end + 4) * 0x100_0000 + key.readUIntLE(end + 1, 3)
  return { key: key.subarray(0, end), sequence, value: type === 1 ? value : undefined }
}
