/**
 * All tables of a database as one stream in key order, the newest version of each key.
 *
 *   tables by their smallest key ─► opened when the stream reaches it ─► heap of open tables ─► newest per key
 *
 * Memory: open are only tables whose keys overlap here (LevelDB keeps that to its seven levels and a dozen new
 * tables); of each one block and one window of its file. A table of a repaired database may overlap all others:
 * then it is one block (4 KiB, or one larger value) and 64 KiB for each table, 35 MB for a database of 1 GiB.
 */
import { Findings } from './findings.ts'
import type { TableFile } from './manifest.ts'
import { TableReader, type Version } from './table-reader.ts'

/** Versions out of their table's order, kept for the end; LevelDB never writes such, so few is enough. */
const outliersMax = 10_000

interface Table extends TableFile {
  readonly smallest: Buffer
}

class Cursor {
  readonly #reader: TableReader
  readonly #outliers: Version[]
  #block: readonly Version[] = []
  #at = 0
  #last: Buffer = Buffer.alloc(0)

  constructor(reader: TableReader, outliers: Version[]) {
    this.#reader = reader
    this.#outliers = outliers
  }

  get current(): Version | undefined {
    return this.#block[this.#at]
  }

  /** To the next version in order; true when there is one in this block. */
  step(): boolean {
    for (this.#at++; ; this.#at++) {
      const { current } = this
      if (current === undefined) return false
      if (this.#inOrder(current)) return true
    }
  }

  /** To the next block, where this one is used up; false at the end. */
  async load(): Promise<boolean> {
    for (;;) {
      const block = await this.#reader.next()
      if (block === undefined) return false
      this.#block = block
      this.#at = -1
      if (this.step()) return true
    }
  }

  close(): Promise<void> {
    return this.#reader.close()
  }

  #inOrder(version: Version): boolean {
    const isInOrder = Buffer.compare(version.key, this.#last) >= 0
    if (isInOrder) this.#last = version.key
    else if (this.#outliers.length < outliersMax) this.#outliers.push(version)
    return isInOrder
  }
}

export class Merge {
  readonly #findings: Findings
  readonly #waiting: Table[]
  readonly #heap: Cursor[] = []
  /** Met out of order; the stream lacks them. */
  readonly outliers: Version[] = []

  private constructor(tables: Table[], findings: Findings) {
    this.#waiting = tables
    this.#findings = findings
  }

  static async open(files: readonly TableFile[], findings: Findings): Promise<Merge> {
    const tables: Table[] = []
    for (const file of files) tables.push({ ...file, smallest: await TableReader.smallestKey(file.path) })
    tables.sort((a, b) => Buffer.compare(a.smallest, b.smallest))
    return new Merge(tables, findings)
  }

  /** The newest version of each key, tombstones included, in key order. */
  async *newest(): AsyncGenerator<Version> {
    let last: Buffer | undefined
    try {
      for (;;) {
        await this.#openReached()
        const top = this.#heap[0]
        const version = top?.current
        if (top === undefined || version === undefined) return
        // Of equal keys the newest comes first.
        if (last === undefined || !version.key.equals(last)) yield version
        last = version.key
        if (top.step() || (await top.load())) this.#sink(0)
        else await this.#closeTop(top)
      }
    } finally {
      for (const cursor of this.#heap) await cursor.close()
    }
  }

  async #openReached(): Promise<void> {
    for (;;) {
      const next = this.#waiting[0]
      const reached = this.#heap[0]?.current
      if (next === undefined) return
      if (reached !== undefined && Buffer.compare(next.smallest, reached.key) > 0) return
      this.#waiting.shift()
      const findings = next.isNamed ? this.#findings : new Findings()
      const cursor = new Cursor(await TableReader.open(next.path, findings), this.outliers)
      if (await cursor.load()) {
        this.#heap.push(cursor)
        this.#rise(this.#heap.length - 1)
      } else await cursor.close()
    }
  }

  async #closeTop(top: Cursor): Promise<void> {
    const last = this.#heap.pop()
    if (last !== undefined && last !== top) {
      this.#heap[0] = last
      this.#sink(0)
    }
    await top.close()
  }

  #rise(from: number): void {
    for (let at = from; at > 0; ) {
      const parent = (at - 1) >>> 1
      if (!this.#swapIfBefore(at, parent)) return
      at = parent
    }
  }

  #sink(from: number): void {
    for (let at = from; ; ) {
      const left = at * 2 + 1
      const right = left + 1
      const child = right < this.#heap.length && this.#isBefore(right, left) ? right : left
      if (child >= this.#heap.length || !this.#swapIfBefore(child, at)) return
      at = child
    }
  }

  #swapIfBefore(lower: number, upper: number): boolean {
    if (!this.#isBefore(lower, upper)) return false
    const [a, b] = [this.#heap[lower], this.#heap[upper]]
    if (a === undefined || b === undefined) return false
    this.#heap[lower] = b
    this.#heap[upper] = a
    return true
  }

  #isBefore(left: number, right: number): boolean {
    const a = this.#heap[left]?.current
    const b = this.#heap[right]?.current
    if (a === undefined || b === undefined) return false
    return (Buffer.compare(a.key, b.key) || b.sequence - a.sequence) < 0
  }
}
