/**
 * Messages on their way to an isolate: numbers in columns, text in one piece.
 *
 *   | u32 run, first index, count, text bytes, raw bytes, last | numbers: count × 6 f64 | text | raw | order keys |
 *   numbers of an item: time, attempt, flags (qos | retain << 2), characters of id, topic and payload in the text
 *   text: id, topic, payload of the first item, then of the second …
 *   raw: the payloads, for a function that takes bytes; their numbers then count bytes
 *   order keys: a JSON array, where several items may run at once
 *
 * The daemon writes byte lengths. Text that is ASCII throughout has as many characters as bytes, so the
 * executor hands it on as one string; otherwise it counts characters anew.
 */

import { isAscii } from 'node:buffer'

/** What a message must have to travel; sandbox's BatchItem fits. */
export interface WireItem {
  readonly invocationId: string
  readonly attempt: number
  readonly topic: string
  readonly payload: Buffer
  readonly time: number
  readonly qos: number
  readonly retain: boolean
  readonly orderKey: string
}

/** Numbers that stand for one item. */
export const itemNumbers = 6
const headBytes = 24

export interface ItemsFrame {
  /** Number of the run, so that frames of an ended one are recognised. */
  readonly run: number
  /** Index in the batch of the first item. */
  readonly first: number
  readonly items: readonly WireItem[]
  /** No more items follow in this run. */
  readonly last: boolean
}

/** Encodes a slice of a batch as pieces of one frame's body. */
export function encodeItems(frame: ItemsFrame, payload: 'json' | 'binary', withKeys: boolean): Buffer[] {
  const { items } = frame
  const numbers = new Float64Array(items.length * itemNumbers)
  let textBytes = 0
  let rawBytes = 0
  let n = 0
  for (const item of items) {
    const topicBytes = Buffer.byteLength(item.topic)
    numbers[n] = item.time
    numbers[n + 1] = item.attempt
    numbers[n + 2] = item.qos | (item.retain ? 4 : 0)
    numbers[n + 3] = item.invocationId.length
    numbers[n + 4] = topicBytes
    numbers[n + 5] = item.payload.length
    n += itemNumbers
    textBytes += item.invocationId.length + topicBytes
    if (payload === 'json') textBytes += item.payload.length
    else rawBytes += item.payload.length
  }
  const bytes = Buffer.allocUnsafe(headBytes + numbers.byteLength + textBytes + rawBytes)
  bytes.writeUInt32LE(frame.run, 0)
  bytes.writeUInt32LE(frame.first, 4)
  bytes.writeUInt32LE(items.length, 8)
  bytes.writeUInt32LE(textBytes, 12)
  bytes.writeUInt32LE(rawBytes, 16)
  bytes.writeUInt32LE(frame.last ? 1 : 0, 20)
  bytes.set(new Uint8Array(numbers.buffer), headBytes)
  writeText(bytes, headBytes + numbers.byteLength, items, payload, headBytes + numbers.byteLength + textBytes)
  return withKeys ? [bytes, Buffer.from(JSON.stringify(items.map(item => item.orderKey)))] : [bytes]
}

function writeText(
  bytes: Buffer,
  start: number,
  items: readonly WireItem[],
  payload: 'json' | 'binary',
  rawStart: number,
): void {
  let at = start
  let rawAt = rawStart
  for (const item of items) {
    at += bytes.write(item.invocationId, at, 'latin1')
    at += bytes.write(item.topic, at, 'utf8')
    if (payload === 'json') {
      bytes.set(item.payload, at)
      at += item.payload.length
    } else {
      bytes.set(item.payload, rawAt)
      rawAt += item.payload.length
    }
  }
}

/** Items as an isolate takes them: both buffers are its own. */
export interface IsolateItems {
  readonly run: number
  readonly first: number
  readonly count: number
  readonly last: boolean
  readonly text: string
  readonly numbers: ArrayBuffer
  readonly raw: ArrayBuffer
  /** Empty where items run one after the other. */
  readonly keys: readonly string[]
}

function copyOut(bytes: Buffer, from: number, to: number): ArrayBuffer {
  const copy = new ArrayBuffer(to - from)
  new Uint8Array(copy).set(bytes.subarray(from, to))
  return copy
}

/** Decodes a frame's body (written by the daemon, so trusted) for an isolate. */
export function decodeItems(body: Buffer, payload: 'json' | 'binary'): IsolateItems {
  const count = body.readUInt32LE(8)
  const textStart = headBytes + count * itemNumbers * 8
  const textEnd = textStart + body.readUInt32LE(12)
  const rawEnd = textEnd + body.readUInt32LE(16)
  const numbers = copyOut(body, headBytes, textStart)
  const text = isAscii(body.subarray(textStart, textEnd))
    ? body.toString('latin1', textStart, textEnd)
    : countCharacters(body, textStart, new Float64Array(numbers), payload)
  return {
    run: body.readUInt32LE(0),
    first: body.readUInt32LE(4),
    count,
    last: body.readUInt32LE(20) === 1,
    text,
    numbers,
    raw: copyOut(body, textEnd, rawEnd),
    keys: rawEnd < body.length ? JSON.parse(body.toString('utf8', rawEnd, body.length)) : [],
  }
}

/** Decodes field by field and puts characters where the numbers have bytes. */
function countCharacters(
  body: Buffer,
  start: number,
  numbers: Float64Array,
  payload: 'json' | 'binary',
): string {
  const fields = payload === 'json' ? [3, 4, 5] : [3, 4]
  let text = ''
  let at = start
  for (let n = 0; n < numbers.length; n += itemNumbers) {
    for (const field of fields) {
      const bytes = numbers[n + field] ?? 0
      const piece = body.toString('utf8', at, at + bytes)
      at += bytes
      numbers[n + field] = piece.length
      text += piece
    }
  }
  return text
}

/** The items from number `from` on, at most `count` of them, as a chunk of their own. */
export function partOfItems(
  items: IsolateItems,
  from: number,
  count: number,
  payload: 'json' | 'binary',
): IsolateItems {
  const numbers = new Float64Array(items.numbers)
  const to = Math.min(items.count, from + count)
  let textStart = 0
  let textEnd = 0
  let rawStart = 0
  let rawEnd = 0
  for (let i = 0; i < to; i++) {
    const n = i * itemNumbers
    if (i === from) {
      textStart = textEnd
      rawStart = rawEnd
    }
    textEnd += (numbers[n + 3] ?? 0) + (numbers[n + 4] ?? 0)
    if (payload === 'json') textEnd += numbers[n + 5] ?? 0
    else rawEnd += numbers[n + 5] ?? 0
  }
  return {
    ...items,
    first: items.first + from,
    count: to - from,
    text: items.text.slice(textStart, textEnd),
    numbers: items.numbers.slice(from * itemNumbers * 8, to * itemNumbers * 8),
    raw: items.raw.slice(rawStart, rawEnd),
    keys: items.keys.slice(from, to),
  }
}

/** The invocation id of the `n`-th item. */
export function idOfItem(items: IsolateItems, n: number, payload: 'json' | 'binary'): string {
  const one = partOfItems(items, n, 1, payload)
  return one.text.slice(0, new Float64Array(one.numbers)[3] ?? 0)
}
