/** Event, EventTarget, AbortController and AbortSignal for an isolate (WHATWG DOM, 2 and 3), without capture and bubbling. */

export class GuestEvent {
  readonly type: string
  readonly cancelable: boolean
  readonly timeStamp: number = performance.now()
  target: unknown = null
  defaultPrevented = false
  stopped = false

  constructor(type: unknown, init: { cancelable?: boolean } = {}) {
    this.type = String(type)
    this.cancelable = init.cancelable === true
  }

  get currentTarget(): unknown {
    return this.target
  }

  preventDefault(): void {
    if (this.cancelable) this.defaultPrevented = true
  }

  stopPropagation(): void {}

  stopImmediatePropagation(): void {
    this.stopped = true
  }
}

type Listener = ((event: GuestEvent) => void) | { handleEvent(event: GuestEvent): void }
interface Entry {
  readonly type: string
  readonly listener: Listener
  readonly once: boolean
}

export class GuestEventTarget {
  #entries: Entry[] = []

  addEventListener(
    type: string,
    listener: Listener | null,
    options?: boolean | { once?: boolean; signal?: GuestAbortSignal },
  ): void {
    if (listener === null || this.#entries.some(entry => entry.type === type && entry.listener === listener))
      return
    const settings = typeof options === 'object' ? options : {}
    if (settings.signal?.aborted) return
    this.#entries.push({ type, listener, once: settings.once === true })
    settings.signal?.addEventListener('abort', () => this.removeEventListener(type, listener))
  }

  removeEventListener(type: string, listener: Listener | null): void {
    this.#entries = this.#entries.filter(entry => entry.type !== type || entry.listener !== listener)
  }

  dispatchEvent(event: GuestEvent): boolean {
    event.target = this
    for (const entry of this.#entries) {
      if (entry.type !== event.type || event.stopped) continue
      if (entry.once) this.removeEventListener(entry.type, entry.listener)
      if (typeof entry.listener === 'function') entry.listener.call(this, event)
      else entry.listener.handleEvent(event)
    }
    return !event.defaultPrevented
  }
}

/** A DOMException in all but its class (WebIDL, 2.8.1). */
function namedError(name: string, message: string, code: number): Error {
  const error = new Error(message)
  Object.defineProperty(error, 'name', { value: name, configurable: true, writable: true })
  return Object.assign(error, { code })
}

export class GuestAbortSignal extends GuestEventTarget {
  #reason: unknown
  #aborted = false
  onabort: ((event: GuestEvent) => void) | null = null

  get aborted(): boolean {
    return this.#aborted
  }

  get reason(): unknown {
    return this.#reason
  }

  throwIfAborted(): void {
    if (this.#aborted) throw this.#reason
  }

  /** Called by the controller. */
  static abortNow(signal: GuestAbortSignal, reason: unknown): void {
    if (signal.#aborted) return
    signal.#aborted = true
    signal.#reason =
      reason === undefined ? namedError('AbortError', 'This operation was aborted', 20) : reason
    const event = new GuestEvent('abort')
    signal.onabort?.(event)
    signal.dispatchEvent(event)
  }

  static abort(reason?: unknown): GuestAbortSignal {
    const signal = new GuestAbortSignal()
    GuestAbortSignal.abortNow(signal, reason)
    return signal
  }

  static timeout(delayMs: number): GuestAbortSignal {
    const signal = new GuestAbortSignal()
    const reason = namedError('TimeoutError', 'The operation was aborted due to timeout', 23)
    setTimeout(() => GuestAbortSignal.abortNow(signal, reason), delayMs)
    return signal
  }

  static any(signals: Iterable<GuestAbortSignal>): GuestAbortSignal {
    const all = new GuestAbortSignal()
    for (const signal of signals) {
      if (signal.aborted) GuestAbortSignal.abortNow(all, signal.reason)
      else
        signal.addEventListener('abort', () => GuestAbortSignal.abortNow(all, signal.reason), { once: true })
    }
    return all
  }
}

export class GuestAbortController {
  readonly signal = new GuestAbortSignal()

  abort(reason?: unknown): void {
    GuestAbortSignal.abortNow(this.signal, reason)
  }
}
