/**
 * Connects what the parts report with the live feed, as long as somebody looks.
 *
 * A link has no listener of its own: it changes seldom and is asked twice a second while watched.
 */
import { type LiveEvent, previewCharactersMax } from '#base/live-event.ts'
import type { InvocationEvent } from '#invoker/invocation-event.ts'
import type { ErrorDocument } from '#sandbox/sandbox.ts'
import type { Parts } from './daemon.ts'
import { linkStateOf } from './link-state.ts'
import { previewOf } from './live-feed.ts'

const linkLookMs = 500

/** Disposing ends the relay. */
export function relayEvents(parts: Parts): Disposable {
  const { feed, invoker, router, clock } = parts
  router.onDeliver(message => feed.message(message))
  const stop = new DisposableStack()
  let watching: (() => void) | undefined
  stop.defer(
    feed.onWatched(watched => {
      watching?.()
      watching = watched
        ? invoker.observers.onInvocation(event => feed.emit(invocationEvent(event)))
        : undefined
    }),
  )
  stop.defer(
    invoker.observers.onChange(({ function: name, change, detail }) => {
      const error = change === 'failed' ? { error: detail } : {}
      feed.emit({ type: 'function', time: clock.now(), function: name, state: change, ...error })
    }),
  )
  stop.defer(watchLinks(parts))
  return stop
}

function watchLinks({ feed, uplink, clock }: Parts): () => void {
  const known = new Map<string, string>()
  let cancel = () => {}
  const look = () => {
    cancel = clock.after(linkLookMs, look)
    if (!feed.watched) return
    for (const { uplink: name, link } of uplink.status().links) {
      const { state, reason } = linkStateOf(link)
      if (known.get(name) === state) continue
      known.set(name, state)
      feed.emit({
        type: 'link',
        time: clock.now(),
        uplink: name,
        state,
        ...(reason !== undefined && { reason }),
      })
    }
  }
  look()
  return () => cancel()
}

function invocationEvent(event: InvocationEvent): LiveEvent {
  const { outcome, next, error } = event
  const payload = previewOf(event.payload)
  return {
    type: 'invocation',
    time: event.time,
    function: event.function,
    topic: event.topic,
    ...(payload !== undefined && { payload }),
    outcome:
      next === 'dead-letter'
        ? 'dead'
        : outcome === 'success'
          ? 'ok'
          : outcome === 'timeout'
            ? 'timeout'
            : 'error',
    attempt: event.attempt,
    durationMs: event.durationMs,
    published: event.published.map(({ topic, payload }) => {
      const preview = previewOf(payload)
      return { topic, ...(preview !== undefined && { payload: preview }) }
    }),
    ...(error !== undefined && { error: errorText(error) }),
  }
}

/** What and where: the first place of the trace is the author's own line. */
function errorText({ errorType, errorMessage, trace }: ErrorDocument): string {
  const place = trace.find(line => /^\s*at /.test(line))?.trim()
  return `${errorType}: ${errorMessage}${place === undefined ? '' : ` ${place}`}`.slice(
    0,
    previewCharactersMax,
  )
}
