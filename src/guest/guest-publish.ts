/**
 * `publish` of the module `fescue`: an effect, sent when the invocation has succeeded.
 *
 * The topic is checked here for the sake of the message, at the line that publishes; the invoker checks
 * again what comes out.
 */
import { addEffect } from './effects.ts'
import type { Invocation } from './invocation.ts'
import {
  isArray,
  isView,
  jsonStringify,
  mapClear,
  mapHas,
  mapSet,
  mapSize,
  NativeArrayBuffer,
  NativeError,
  NativeMap,
  NativeTypeError,
  NativeUint8Array,
  regexpExec,
  stringIncludes,
  stringSplit,
} from './natives.ts'

/** Topics whose permission is remembered. */
const grantedTopicsMax = 1000
const topicCharactersMax = 65_535

/** A topic filter as a regular expression over topics [MQTT-4.7.1]. */
function filterSource(filter: string): string {
  const levels = stringSplit(filter, '/')
  let source = filter[0] === '+' || filter[0] === '#' ? '(?!\\$)' : ''
  for (let i = 0; i < levels.length; i++) {
    const level = levels[i] ?? ''
    if (level === '#') return `${source}${i === 0 ? '' : '(?:/'}[^]*${i === 0 ? '' : ')?'}`
    source += (i === 0 ? '' : '/') + (level === '+' ? '[^/]*' : level.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  }
  return source
}

export class GuestPublish {
  readonly #current: () => Invocation
  readonly #granted: RegExp
  readonly #known = new NativeMap<string, true>()

  constructor(current: () => Invocation, filters: readonly string[]) {
    this.#current = current
    this.#granted = new RegExp(`^(?:${filters.length === 0 ? '(?!)' : filters.map(filterSource).join('|')})$`)
  }

  publish(topic: unknown, payload: unknown, options: unknown): void {
    const invocation = this.#current()
    const name = this.#checkedTopic(topic)
    let qos: unknown = 1
    let retain = false
    if (typeof options === 'object' && options !== null) {
      qos = (options as { qos?: unknown }).qos ?? 1
      retain = (options as { retain?: unknown }).retain === true
    }
    if (qos !== 0 && qos !== 1 && qos !== 2) throw new NativeTypeError('publish: qos is 0, 1 or 2')
    const flags = qos | (retain ? 4 : 0)
    const bytes = payloadBytes(payload)
    if (bytes !== undefined) {
      addEffect(
        invocation,
        { type: 'publish', topic: name, text: '', bytes, flags: flags | 8, next: undefined },
        name.length + bytes.length,
      )
      return
    }
    const text = typeof payload === 'string' ? payload : payload === undefined ? '' : jsonStringify(payload)
    if (typeof text !== 'string')
      throw new NativeTypeError('publish: the payload is text, bytes, or what JSON can hold')
    addEffect(
      invocation,
      { type: 'publish', topic: name, text, bytes: undefined, flags, next: undefined },
      name.length + text.length,
    )
  }

  #checkedTopic(topic: unknown): string {
    if (typeof topic !== 'string') throw new NativeTypeError('publish: the topic is a text')
    if (mapHas(this.#known, topic)) return topic
    if (topic.length === 0 || topic.length > topicCharactersMax)
      throw new NativeTypeError('publish: the topic is empty or too long [MQTT-4.7.3-1]')
    if (stringIncludes(topic, '+') || stringIncludes(topic, '#') || stringIncludes(topic, '\0'))
      throw new NativeTypeError(`publish: "${topic}" has a wildcard or a NUL character [MQTT-3.3.2-2]`)
    if (regexpExec(this.#granted, topic) === null)
      throw new NativeError(
        `publish: the manifest does not grant "${topic}"; add to function.yaml: permissions: publish: [${topic}]`,
      )
    if (mapSize(this.#known) >= grantedTopicsMax) mapClear(this.#known)
    mapSet(this.#known, topic, true)
    return topic
  }
}

/** A copy of the payload's bytes if it is binary. */
function payloadBytes(payload: unknown): Uint8Array<ArrayBuffer> | undefined {
  if (typeof payload !== 'object' || payload === null || isArray(payload)) return undefined
  if (payload instanceof NativeArrayBuffer) return new NativeUint8Array(new NativeUint8Array(payload))
  if (!isView(payload)) return undefined
  const view = payload as ArrayBufferView
  return new NativeUint8Array(new NativeUint8Array(view.buffer, view.byteOffset, view.byteLength))
}
