/** What is told of each run to whoever listens: the dev log, the live page, traces. Nothing is made without a listener. */
import type { InvocationId } from '#base/ids.ts'
import type { ErrorDocument, LogLine, Success } from '#sandbox/sandbox.ts'

/** `refused`: it ran, but what it did may not be (grants, bounds, loops). */
export type InvocationOutcome = 'success' | 'error' | 'timeout' | 'killed' | 'refused'

export interface InvocationEvent {
  readonly function: string
  readonly revision: string
  readonly invocationId: InvocationId
  readonly topic: string
  readonly payload: Buffer
  /** 1 for the first try. */
  readonly attempt: number
  readonly outcome: InvocationOutcome
  /** What becomes of the message: done, run again, a dead letter, or told to its caller and over. */
  readonly next: 'done' | 'retry' | 'dead-letter' | 'answered'
  /** Milliseconds since the epoch when the outcome was known. */
  readonly time: number
  readonly durationMs: number
  /** From the message's acceptance to its handler. */
  readonly queuedMs: number
  /** What was published, the first `publishedShownMax` of `publishedCount`. */
  readonly published: readonly Published[]
  readonly publishedCount: number
  readonly stateWrites: number
  readonly error?: ErrorDocument
}

export interface Published {
  readonly topic: string
  readonly payload: Buffer
}

/** A function was switched to a revision, could not be built, lost its folder, was disabled or purged. */
export interface FunctionChange {
  readonly function: string
  readonly change: 'switched' | 'failed' | 'detached' | 'disabled' | 'purged'
  /** The revision, or why. */
  readonly detail: string
}

export interface FunctionLogEvent extends LogLine {
  readonly function: string
}

export const publishedShownMax = 8

type InvocationListener = (event: InvocationEvent) => void
type ChangeListener = (event: FunctionChange) => void
type LogListener = (event: FunctionLogEvent) => void

/** The listeners. `wanted` is asked before an event is made. */
export class InvocationObservers {
  readonly #invocations = new Set<InvocationListener>()
  readonly #logs = new Set<LogListener>()
  readonly #changes = new Set<ChangeListener>()

  get wanted(): boolean {
    return this.#invocations.size > 0
  }

  onInvocation(listener: InvocationListener): () => void {
    this.#invocations.add(listener)
    return () => this.#invocations.delete(listener)
  }

  onLog(listener: LogListener): () => void {
    this.#logs.add(listener)
    return () => this.#logs.delete(listener)
  }

  onChange(listener: ChangeListener): () => void {
    this.#changes.add(listener)
    return () => this.#changes.delete(listener)
  }

  invocation(event: InvocationEvent): void {
    for (const listener of this.#invocations) listener(event)
  }

  change(event: FunctionChange): void {
    for (const listener of this.#changes) listener(event)
  }

  log(event: FunctionLogEvent): void {
    for (const listener of this.#logs) listener(event)
  }
}

/** The part of an event that tells what the run did. */
export function effectsSummary(
  success: Success | undefined,
): Pick<InvocationEvent, 'published' | 'publishedCount' | 'stateWrites'> {
  const published: Published[] = []
  let publishedCount = 0
  let stateWrites = 0
  for (const effect of success?.effects ?? []) {
    if (effect.type !== 'publish') stateWrites += 1
    else if (publishedCount++ < publishedShownMax)
      published.push({ topic: effect.topic, payload: effect.payload })
  }
  return { published, publishedCount, stateWrites }
}
