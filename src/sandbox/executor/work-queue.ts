/** The items of a run that were not started, in order; given out as a chunk, or one by one when it must be known which ran. */
import { type IsolateItems, partOfItems } from '#base/wire/items.ts'

export class WorkQueue {
  readonly #payload: 'json' | 'binary'
  #chunks: IsolateItems[] = []

  constructor(payload: 'json' | 'binary') {
    this.#payload = payload
  }

  get empty(): boolean {
    return this.#chunks.length === 0
  }

  add(items: IsolateItems): void {
    if (items.count > 0) this.#chunks.push(items)
  }

  /** These come next again. */
  putBack(items: IsolateItems): void {
    if (items.count > 0) this.#chunks.unshift(items)
  }

  takeChunk(): IsolateItems | undefined {
    return this.#chunks.shift()
  }

  /** The first item whose order key is not among `busyKeys`; keys are only looked at where items have some. */
  takeOne(busyKeys: ReadonlySet<string>): IsolateItems | undefined {
    for (const [c, chunk] of this.#chunks.entries()) {
      for (let i = 0; i < chunk.count; i++) {
        const key = chunk.keys[i]
        if (key !== undefined && busyKeys.has(key)) continue
        const part = (from: number, to: number) => partOfItems(chunk, from, to - from, this.#payload)
        const rest = [part(0, i), part(i + 1, chunk.count)].filter(each => each.count > 0)
        this.#chunks.splice(c, 1, ...rest)
        return part(i, i + 1)
      }
    }
    return undefined
  }
}
