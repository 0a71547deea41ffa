/**
 * One client that reads live events: bounded, and never a brake for those who publish (D6).
 *
 *   offer(event) ── room? ──► encoded ──► response (one write per turn)
 *                     └ no ─► counted ──► {"type":"skipped","count":n} once there is room again
 *
 * NDJSON by default; server-sent events for a client that accepts `text/event-stream`. A client that takes
 * nothing for `stallMaxMs` is cut.
 */
import type { ServerResponse } from 'node:http'
import type { Clock } from '#base/clock.ts'

export type StreamFormat = 'ndjson' | 'sse'

/** Bytes that wait for one client; more is skipped. */
export const streamBacklogMaxBytes = 256 * 1024
/** Silence after which a comment keeps proxies and readers patient. */
const pingMs = 15_000
/** A client with a full backlog that takes nothing this long is gone. */
export const stallMaxMs = 60_000

export class LiveStream {
  readonly #response: ServerResponse
  readonly #format: StreamFormat
  readonly #clock: Clock
  #skipped = 0
  #corked = false
  #stalledSince: number | undefined
  #cancelPing: () => void

  constructor(response: ServerResponse, format: StreamFormat, clock: Clock) {
    this.#response = response
    this.#format = format
    this.#clock = clock
    this.#cancelPing = clock.after(pingMs, () => this.#ping())
    response.on('drain', () => this.#drained())
    response.on('close', () => this.#cancelPing())
  }

  /** Sends the event, or counts it as skipped when the client lags. It is encoded only if it is sent. */
  offer(event: () => object): void {
    if (this.#response.writableEnded || this.#response.destroyed) return
    if (this.#skipped > 0 || this.#response.writableLength > streamBacklogMaxBytes) {
      this.#skipped += 1
      this.#stalledSince ??= this.#clock.monotonic()
      return
    }
    this.#write(event())
  }

  end(): void {
    this.#cancelPing()
    this.#response.end()
  }

  #write(event: object): void {
    if (!this.#corked) {
      this.#corked = true
      this.#response.cork()
      setImmediate(() => {
        this.#corked = false
        this.#response.uncork()
      })
    }
    const text = JSON.stringify(event)
    this.#response.write(this.#format === 'ndjson' ? `${text}\n` : `data: ${text}\n\n`)
  }

  #drained(): void {
    this.#stalledSince = undefined
    if (this.#skipped === 0) return
    const count = this.#skipped
    this.#skipped = 0
    this.#write({ type: 'skipped', time: this.#clock.now(), count })
  }

  #ping(): void {
    const stalledMs = this.#stalledSince === undefined ? 0 : this.#clock.monotonic() - this.#stalledSince
    if (stalledMs >= stallMaxMs) {
      this.#response.destroy()
      return
    }
    // An empty line is no document, so NDJSON readers pass over it.
    if (this.#response.writableLength === 0)
      this.#response.write(this.#format === 'sse' ? ': ping\n\n' : '\n')
    this.#cancelPing = this.#clock.after(pingMs, () => this.#ping())
  }
}
