/**
 * Writes records as a CloudEvents 1.0.2 batch (`application/cloudevents-batch+json`), as text, without
 * building objects: 100,000 records a second and more on one core of a PC.
 *
 * A payload that is JSON by its content type (or has none) and parses becomes `data`, digit for digit; any
 * other becomes `data_base64`. The first record of an epoch carries `fescuebase` (where the epoch begins in
 * this log) and `fescueafter` (the epoch before), so that the receiver can tell a new epoch from a gap.
 */
import { isUtf8 } from 'node:buffer'
import type { LogRecord } from '#store/record.ts'
import type { OutgoingBatch } from './connector.ts'

const types: Record<OutgoingBatch['kind'], string> = {
  message: 'fescue.message.v1',
  loss: 'fescue.loss.v1',
}

/** Topics whose JSON text is remembered. */
const subjectsMax = 1_000

export class CloudEventsEncoder {
  readonly #device: string
  readonly #subjects = new Map<string, string>()
  #second = Number.NaN
  #secondText = ''

  constructor(device: string) {
    this.#device = device
  }

  encode(batch: OutgoingBatch): Buffer {
    const type = types[batch.kind]
    const head = `{"specversion":"1.0","source":"//fescue/${this.#device}","type":"${type}","id":"`
    let { after } = batch
    let expected = batch.from
    let prefix = ''
    let text = '['
    for (const [i, record] of batch.records.entries()) {
      const begins = record.epoch !== after
      if (begins || i === 0) prefix = `${this.#device}/${record.epoch}/${batch.log}/`
      text += `${i === 0 ? '' : ',\n'}${head}${prefix}${record.offset}"`
      if (begins) text += `,"fescuebase":"${expected}"`
      if (begins && after !== undefined) text += `,"fescueafter":"${after}"`
      text += this.#attributes(record)
      after = record.epoch
      expected = record.offset + 1
    }
    return Buffer.from(`${text}]`)
  }

  #attributes(record: LogRecord): string {
    let text = `,"subject":${this.#subject(record.topic)},"time":"${this.#time(record.time)}"`
    if (record.messageId !== undefined) text += `,"fescuemsgid":${JSON.stringify(record.messageId)}`
    if (record.qos > 0) text += `,"fescueqos":${record.qos}`
    if (record.trace !== undefined) text += `,"traceparent":${JSON.stringify(record.trace)}`
    return `${text},${dataOf(record)}}`
  }

  #subject(topic: string): string {
    let text = this.#subjects.get(topic)
    if (text === undefined) {
      text = JSON.stringify(topic)
      if (this.#subjects.size >= subjectsMax) this.#subjects.clear()
      this.#subjects.set(topic, text)
    }
    return text
  }

  /** RFC 3339 with milliseconds; the second's text is kept. */
  #time(ms: number): string {
    const second = Math.floor(ms / 1000)
    if (second !== this.#second) {
      this.#second = second
      this.#secondText = new Date(second * 1000).toISOString().slice(0, 20)
    }
    return `${this.#secondText}${String(Math.trunc(ms - second * 1000)).padStart(3, '0')}Z`
  }
}

/** `datacontenttype` with `data` or `data_base64`. */
function dataOf({ contentType, payload }: LogRecord): string {
  const type = contentType === undefined ? undefined : JSON.stringify(contentType)
  if (contentType === undefined || isJsonType(contentType)) {
    const text = jsonTextOf(payload)
    if (text !== undefined) return `"datacontenttype":${type ?? '"application/json"'},"data":${text}`
  }
  return `"datacontenttype":${type ?? '"application/octet-stream"'},"data_base64":"${payload.toString('base64')}"`
}

function isJsonType(contentType: string): boolean {
  return /^application\/([\w.+-]+\+)?json\b/i.test(contentType)
}

/** The payload's text when it is JSON; `null` is not, because a null member means absent in CloudEvents. */
function jsonTextOf(payload: Buffer): string | undefined {
  const first = payload[0]
  if (first === undefined || !mayStartJson(first) || !isUtf8(payload)) return undefined
  const text = payload.toString('utf8')
  try {
    return JSON.parse(text) === null ? undefined : text
  } catch {
    return undefined
  }
}

/** A cheap look before parsing: { [ " - digit t f or a blank. */
function mayStartJson(byte: number): boolean {
  if (byte >= 48 && byte <= 57) return true
  return (
    byte === 123 || byte === 91 || byte === 34 || byte === 45 || byte === 116 || byte === 102 || byte <= 32
  )
}
