/**
 * A CloudEvent as the endpoint takes it: the text as it came, and what its attributes say about it.
 *
 * Events come one (`application/cloudevents+json`), many (`application/cloudevents-batch+json`) or in binary
 * mode (`ce-` headers and the payload as body), as CloudEvents 1.0.2 and its HTTP binding define. The `id` is
 * `device/epoch/log.incarnation/offset`, the source `//fescue/device`.
 */
import { isUtf8 } from 'node:buffer'
import type { IncomingHttpHeaders } from 'node:http'
import { FescueError } from '#base/errors.ts'
import { type Epoch, namePattern, type Offset } from '#base/ids.ts'
import { elementTexts, oneLine } from './json-text.ts'

export const lossEventType = 'fescue.loss.v1'

/** A ledger entry as far as the endpoint needs it. */
export interface Loss {
  readonly log: string
  readonly epoch: Epoch
  readonly from: Offset
  readonly to: Offset
}

export interface IncomingEvent {
  readonly device: string
  readonly epoch: Epoch
  /** `log.incarnation`. */
  readonly log: string
  readonly offset: Offset
  /** One line of JSON. */
  readonly text: string
  readonly messageId: string | undefined
  readonly base: Offset | undefined
  readonly after: Epoch | undefined
  readonly loss: Loss | undefined
}

interface Prefix {
  readonly text: string
  readonly device: string
  readonly source: string
  readonly epoch: Epoch
  readonly log: string
}

type Json = Record<string, unknown>

function invalid(message: string): FescueError {
  return new FescueError('FESCUE_REQUEST_INVALID', message)
}

/** Events of a request's body. Errors: FESCUE_REQUEST_INVALID. */
export function eventsOf(headers: IncomingHttpHeaders, body: Buffer): IncomingEvent[] {
  const type = (headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? ''
  if (type === 'application/cloudevents-batch+json') return batch(textOf(body))
  if (type === 'application/cloudevents+json') return [single(textOf(body))]
  if (headers['ce-id'] !== undefined) return [binary(headers, type, body)]
  throw invalid(
    `content-type "${type}": send application/cloudevents-batch+json, application/cloudevents+json, or binary mode with ce- headers`,
  )
}

function textOf(body: Buffer): string {
  if (!isUtf8(body)) throw invalid('the body is not UTF-8')
  return body.toString('utf8')
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw invalid(`the body is not JSON: ${error instanceof Error ? error.message : String(error)}`)
  }
}

function batch(text: string): IncomingEvent[] {
  const values = parse(text)
  if (!Array.isArray(values)) throw invalid('a batch is a JSON array')
  if (values.length === 0) return []
  const texts = elementTexts(text)
  let prefix: Prefix | undefined
  return values.map((value: unknown, i) => {
    const read = eventOf(value, texts[i] ?? '', `[${i}]`, prefix)
    prefix = read.prefix
    return read.event
  })
}

function single(text: string): IncomingEvent {
  return eventOf(parse(text), oneLine(text), '', undefined).event
}

/** HTTP binding 3.1: attributes are `ce-` headers, percent-encoded; `datacontenttype` is the content type. */
function binary(headers: IncomingHttpHeaders, type: string, body: Buffer): IncomingEvent {
  const attributes: Json = {}
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith('ce-') && typeof value === 'string') attributes[name.slice(3)] = unescaped(value)
  }
  if (type !== '') attributes.datacontenttype = type
  const head = JSON.stringify(attributes).slice(0, -1)
  const json = type === 'application/json' || type.endsWith('+json') || type === ''
  const text = json && body.length > 0 ? jsonText(body) : undefined
  const data = text === undefined ? `,"data_base64":"${body.toString('base64')}"` : `,"data":${text}`
  return single(body.length === 0 ? `${head}}` : `${head}${data}}`)
}

function unescaped(value: string): string {
  try {
    return decodeURIComponent(value)
  } catch {
    return value
  }
}

function jsonText(body: Buffer): string | undefined {
  if (!isUtf8(body)) return undefined
  try {
    const text = body.toString('utf8')
    JSON.parse(text)
    return oneLine(text)
  } catch {
    return undefined
  }
}

function eventOf(
  value: unknown,
  text: string,
  where: string,
  known: Prefix | undefined,
): { event: IncomingEvent; prefix: Prefix } {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid(`event${where} is not an object`)
  const event = value as Json
  if (event.specversion !== '1.0') throw invalid(`event${where}.specversion is not "1.0"`)
  if (typeof event.type !== 'string' || event.type === '') throw invalid(`event${where}.type is missing`)
  const { id } = event
  if (typeof id !== 'string') throw invalid(`event${where}.id is missing`)
  const cut = id.lastIndexOf('/')
  const prefixText = id.slice(0, cut)
  const prefix = known?.text === prefixText ? known : prefixOf(prefixText, where)
  if (event.source !== prefix.source) throw invalid(`event${where}.source is not "${prefix.source}"`)
  const offset = offsetOf(id.slice(cut + 1), `event${where}.id`)
  return {
    prefix,
    event: {
      device: prefix.device,
      epoch: prefix.epoch,
      log: prefix.log,
      offset,
      text,
      messageId: stringOrNot(event.fescuemsgid),
      base:
        event.fescuebase === undefined ? undefined : offsetOf(event.fescuebase, `event${where}.fescuebase`),
      after: stringOrNot(event.fescueafter),
      loss: event.type === lossEventType ? lossOf(event.data, where) : undefined,
    },
  }
}

function prefixOf(text: string, where: string): Prefix {
  const parts = text.split('/')
  const [device = '', epoch = '', log = ''] = parts
  const right =
    parts.length === 3 &&
    namePattern.test(device) &&
    namePattern.test(epoch) &&
    /^[A-Za-z0-9._-]{1,80}$/.test(log)
  if (!right) throw invalid(`event${where}.id is not device/epoch/log.incarnation/offset`)
  return { text, device, source: `//fescue/${device}`, epoch, log }
}

function offsetOf(value: unknown, where: string): Offset {
  const text = typeof value === 'number' ? String(value) : value
  if (typeof text !== 'string' || !/^\d{1,15}$/.test(text)) throw invalid(`${where}: no offset at its end`)
  return Number(text)
}

function stringOrNot(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

/** Entries about a rollback explain no gap: those records are here, they are missing on the device. */
function lossOf(data: unknown, where: string): Loss | undefined {
  if (typeof data !== 'object' || data === null) throw invalid(`event${where}.data is no ledger entry`)
  const entry = data as Json
  const { log, incarnation, epoch, from, to } = entry
  if (typeof log !== 'string' || typeof epoch !== 'string' || !Number.isSafeInteger(incarnation))
    throw invalid(`event${where}.data is no ledger entry`)
  if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to))
    throw invalid(`event${where}.data is no ledger entry`)
  if (entry.reason === 'rollback' || Number(from) >= Number(to)) return undefined
  return { log: `${log}.${String(incarnation)}`, epoch, from: Number(from), to: Number(to) }
}
