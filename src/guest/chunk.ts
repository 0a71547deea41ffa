/** A chunk of a batch inside the isolate: columns of numbers, one text, and the raw payloads (base/wire/items.ts). */
import {
  bufferSlice,
  flatCopy,
  jsonParse,
  jsonStringify,
  mapClear,
  mapGet,
  mapSet,
  mapSize,
  NativeFloat64Array,
  NativeMap,
  NativeUint8Array,
  stringSlice,
} from './natives.ts'

const itemNumbers = 6
/** Topics kept as strings of their own. */
const topicTextsMax = 1000

/** The payload looks like JSON and is none. */
export class MalformedEvent extends SyntaxError {
  override readonly name = 'Runtime.MalformedEvent'
}

/** Topics as flat strings: one cut from a chunk's text would keep the whole text alive where a function stores it. */
export class TopicTexts {
  readonly #known = new NativeMap<string, string>()
  #last = ''

  of(cut: string): string {
    if (cut === this.#last) return this.#last
    let topic = mapGet(this.#known, cut) as string | undefined
    if (topic === undefined) {
      topic = flatCopy(cut)
      if (mapSize(this.#known) >= topicTextsMax) mapClear(this.#known)
      mapSet(this.#known, topic, topic)
    }
    this.#last = topic
    return topic
  }
}

export class Chunk {
  readonly text: string
  /** Index in the batch of the first item. */
  readonly first: number
  readonly count: number
  readonly #numbers: Float64Array
  readonly #raw: ArrayBuffer
  /** Number of the item that `advance` made current. */
  #item = -1
  #at = 0
  #rawAt = 0

  constructor(text: string, numbers: ArrayBuffer, raw: ArrayBuffer, first: number) {
    this.text = text
    this.#numbers = new NativeFloat64Array(numbers)
    this.#raw = raw
    this.first = first
    this.count = this.#numbers.length / itemNumbers
  }

  get left(): number {
    return this.count - this.#item - 1
  }

  /** Moves to the next item. */
  advance(binary: boolean): void {
    if (this.#item >= 0) {
      this.#at += this.idLength + this.topicLength + (binary ? 0 : this.payloadLength)
      if (binary) this.#rawAt += this.payloadLength
    }
    this.#item++
  }

  #number(column: number): number {
    return this.#numbers[this.#item * itemNumbers + column] ?? 0
  }

  get index(): number {
    return this.first + this.#item
  }

  get time(): number {
    return this.#number(0)
  }

  get attempt(): number {
    return this.#number(1)
  }

  get flags(): number {
    return this.#number(2)
  }

  get idLength(): number {
    return this.#number(3)
  }

  get topicLength(): number {
    return this.#number(4)
  }

  get payloadLength(): number {
    return this.#number(5)
  }

  get idStart(): number {
    return this.#at
  }

  topic(texts: TopicTexts): string {
    const start = this.#at + this.idLength
    return texts.of(stringSlice(this.text, start, start + this.topicLength))
  }

  /** The payload's bytes, in memory of their own. */
  bytes(): Uint8Array {
    return new NativeUint8Array(bufferSlice(this.#raw, this.#rawAt, this.#rawAt + this.payloadLength))
  }

  /**
   * The event of a JSON function. Devices also send plain words (ON, offline): text that is not JSON arrives as it
   * is, nothing as null; but what begins like an object or array must be one.
   */
  event(): unknown {
    const start = this.#at + this.idLength + this.topicLength
    const text = stringSlice(this.text, start, start + this.payloadLength)
    if (text.length === 0) return null
    try {
      return jsonParse(text)
    } catch (error) {
      const first = text[0]
      if (first === '{' || first === '[') throw new MalformedEvent((error as Error).message)
      return flatText(text)
    }
  }
}

function flatText(text: string): string {
  return text.length <= 64 ? flatCopy(text) : (jsonParse(jsonStringify(text)) as string)
}
