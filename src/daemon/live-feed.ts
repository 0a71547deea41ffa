/**
 * What happens, for eyes: turns what the parts report into live events and hands them to who listens.
 *
 *   router.onDeliver ─ message ────┐
 *   invoker ───────── invocation ──┼─► LiveFeed ─► api streams ─► page, dev, sub
 *   uplink ────────── link ────────┘
 *
 * With no listener it costs one comparison per message. Streams bound themselves (`api/live-stream.ts`).
 */

import type { LiveMessage } from '#api/backend.ts'
import { type LiveEvent, previewCharactersMax } from '#base/live-event.ts'
import { filterMatches } from '#base/topics.ts'
import { type Message, originText } from '#router/message.ts'

export class LiveFeed {
  readonly #events = new Set<(event: LiveEvent) => void>()
  readonly #messages = new Map<(message: LiveMessage) => void, string>()
  readonly #watchers = new Set<(watched: boolean) => void>()

  /** Whether anybody looks at events: parts may spare themselves making them. */
  get watched(): boolean {
    return this.#events.size > 0
  }

  onEvent(listener: (event: LiveEvent) => void): () => void {
    this.#events.add(listener)
    if (this.#events.size === 1) this.#tell(true)
    return () => {
      if (this.#events.delete(listener) && this.#events.size === 0) this.#tell(false)
    }
  }

  /** Calls when the first looks and when the last has gone. */
  onWatched(watcher: (watched: boolean) => void): () => void {
    this.#watchers.add(watcher)
    return () => this.#watchers.delete(watcher)
  }

  #tell(watched: boolean): void {
    for (const watcher of this.#watchers) watcher(watched)
  }

  onMessage(filter: string, listener: (message: LiveMessage) => void): () => void {
    this.#messages.set(listener, filter)
    return () => {
      this.#messages.delete(listener)
    }
  }

  emit(event: LiveEvent): void {
    for (const listener of this.#events) listener(event)
  }

  message(message: Message): void {
    if (this.#messages.size === 0 && this.#events.size === 0) return
    const { topic, payload, qos, retain, time } = message
    const origin = originText(message.origin)
    for (const [listener, filter] of this.#messages) {
      if (filterMatches(filter, topic)) listener({ topic, payload, qos, retain, time, origin })
    }
    if (this.#events.size === 0) return
    const preview = previewOf(payload)
    const text = preview === undefined ? {} : { payload: preview }
    this.emit({ type: 'message', time, topic, bytes: payload.length, qos, retain, origin, ...text })
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** The payload as text, cut; undefined when it is no text. */
export function previewOf(payload: Buffer): string | undefined {
  try {
    return utf8.decode(payload).slice(0, previewCharactersMax)
  } catch {
    return undefined
  }
}
