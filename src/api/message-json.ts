/** Messages in JSON: how the API takes one to publish, and how it shows one that was published. */
import { isUtf8 } from 'node:buffer'
import { FescueError } from '#base/errors.ts'
import { problemOfTopic } from '#base/topics.ts'
import type { LiveMessage, PublishInput } from './backend.ts'
import { type ApiRequest, type Fields, invalid } from './request.ts'

/**
 * Reads `{topic, payload | payloadBase64, qos, retain}`. A payload that is a text is sent as it is, anything else
 * as JSON. Errors: FESCUE_REQUEST_INVALID, FESCUE_TOPIC_INVALID, FESCUE_FORBIDDEN for `$…` topics.
 */
export async function publishInput(request: ApiRequest): Promise<PublishInput> {
  const fields = await request.fields(['topic', 'payload', 'payloadBase64', 'qos', 'retain'])
  const topic = fields.text('topic')
  const wrong = problemOfTopic(topic)
  if (wrong !== undefined) throw new FescueError('FESCUE_TOPIC_INVALID', `the topic "${topic}" ${wrong}`)
  if (topic.startsWith('$'))
    throw new FescueError('FESCUE_FORBIDDEN', `topics that begin with "$" are the broker's own: ${topic}`)
  const qos = fields.has('qos') ? fields.raw('qos') : 1
  if (qos !== 0 && qos !== 1 && qos !== 2) throw invalid('qos is 0, 1 or 2')
  return { topic, payload: payloadOf(fields), qos, retain: fields.flag('retain', false) }
}

function payloadOf(fields: Fields): Buffer {
  if (!fields.has('payloadBase64')) {
    if (!fields.has('payload')) return Buffer.alloc(0)
    const payload = fields.raw('payload')
    return Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload))
  }
  if (fields.has('payload')) throw invalid('payload and payloadBase64 exclude each other')
  const text = fields.text('payloadBase64')
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw invalid('payloadBase64 is no base64 (RFC 4648, section 4)')
  return Buffer.from(text, 'base64')
}

/** A published message as a line of a stream: text where the payload is UTF-8, base64 elsewhere. */
export function liveMessage(message: LiveMessage): object {
  const { time, topic, qos, retain, origin, payload } = message
  const body = isUtf8(payload)
    ? { payload: payload.toString('utf8') }
    : { payloadBase64: payload.toString('base64') }
  return { time, topic, qos, retain, origin, ...body }
}
