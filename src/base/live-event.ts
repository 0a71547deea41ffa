/**
 * What happens on a device as screens show it: `GET /api/v1/events` streams these, one JSON document a line;
 * `fescue dev` and the page read them.
 *
 *   broker, router ─ message ──┐
 *   invoker ─ invocation ──────┼──► daemon ──► api (stream, bounded per reader) ──► dev, page
 *   uplink ─ link ─────────────┘
 *
 * For eyes, not for processing: payloads are cut, and a reader that is too slow misses events (`skipped` says
 * how many). What must not be lost is in the logs.
 */

/** Characters of a payload or an error in an event. */
export const previewCharactersMax = 1_024

export interface MessageEvent {
  readonly type: 'message'
  /** Milliseconds since the epoch. */
  readonly time: number
  readonly topic: string
  /** UTF-8 text, cut; absent when the payload is no text. */
  readonly payload?: string
  /** Bytes of the whole payload. */
  readonly bytes: number
  readonly qos: number
  readonly retain: boolean
  /** As in a record: `mqtt:CLIENT`, `function:NAME`, `http` … */
  readonly origin: string
}

/** One run of a handler, at its commit or at its failure. */
export interface InvocationEvent {
  readonly type: 'invocation'
  readonly time: number
  readonly function: string
  /** Topic of the message that started it; `$schedule/NAME` for a schedule. */
  readonly topic: string
  readonly payload?: string
  /** `dead`: the attempts are spent, the message is a dead letter. */
  readonly outcome: 'ok' | 'error' | 'timeout' | 'dead'
  readonly attempt: number
  readonly durationMs: number
  /** What it published, the first few. */
  readonly published: readonly { readonly topic: string; readonly payload?: string }[]
  /** `TypeError: …` and where, cut. */
  readonly error?: string
}

/** The link to a cloud changed. */
export interface LinkEvent {
  readonly type: 'link'
  readonly time: number
  readonly uplink: string
  /** `offline`: cut on purpose. */
  readonly state: 'connected' | 'connecting' | 'offline' | 'refused'
  readonly reason?: string
}

/** A function was loaded, did not compile, was detached or disabled. */
export interface FunctionEvent {
  readonly type: 'function'
  readonly time: number
  readonly function: string
  readonly state: string
  /** Why, with file, line and code frame when it does not compile. */
  readonly error?: string
}

/** The reader was too slow for this many events. */
export interface SkippedEvent {
  readonly type: 'skipped'
  readonly time: number
  readonly count: number
}

export type LiveEvent = MessageEvent | InvocationEvent | LinkEvent | FunctionEvent | SkippedEvent
