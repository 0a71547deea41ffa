/**
 * Types for function authors. A function imports from `fescue`; the globals it finds beside ECMAScript are listed at
 * the end. `Context` is also global, so that a handler needs no import for it.
 */
declare module 'fescue' {
  /** Anything that JSON can hold. */
  export type Json =
    | null
    | boolean
    | number
    | string
    | readonly Json[]
    | { readonly [key: string]: Json | undefined }

  export interface PublishOptions {
    /** Delivery level towards subscribers; 1 by default. */
    qos?: 0 | 1 | 2
    /** Keep it as the last value of its topic; false by default. */
    retain?: boolean
  }

  /**
   * Publishes a message when this invocation has succeeded; if it fails, nothing is sent. Text and bytes go as they are,
   * anything else as JSON. Throws unless the manifest grants the topic (`permissions: publish: [FILTER]`), and
   * when an invocation has more than 1,000 effects or 1 MiB of them.
   */
  export function publish(topic: string, payload: unknown, options?: PublishOptions): void

  /**
   * The function's own key-value store. What an invocation writes is kept together with what it publishes, when it has
   * succeeded; it reads its own writes. Keys have 1 to 512 characters.
   */
  export const state: {
    /** The value, a copy of it; undefined when there is none. */
    get<T = unknown>(key: string): Promise<T | undefined>
    set(key: string, value: unknown): Promise<void>
    delete(key: string): Promise<void>
  }

  /** The second argument of a handler: AWS Lambda's context, and what the message says of itself. */
  export interface Context {
    readonly functionName: string
    /** First 12 digits of the revision. */
    readonly functionVersion: string
    /** MiB, as text. */
    readonly memoryLimitInMB: string
    readonly invokedFunctionArn: string
    readonly logGroupName: string
    readonly logStreamName: string
    /** Equal over all attempts of one message. */
    readonly awsRequestId: string
    readonly clientContext: {
      readonly custom: { readonly subject: string }
      readonly Custom: { readonly subject: string }
    }
    callbackWaitsForEmptyEventLoop: boolean
    getRemainingTimeInMillis(): number
    /** @deprecated Return or throw instead. */
    done(error?: unknown, result?: unknown): void
    /** @deprecated Return instead. */
    succeed(result?: unknown): void
    /** @deprecated Throw instead. */
    fail(error?: unknown): void
    /** Topic of the message. */
    readonly topic: string
    /** The message's own time, milliseconds since the epoch; older than the clock after an outage. */
    readonly time: number
    /** 1 for the first try. */
    readonly attempt: number
    readonly qos: 0 | 1 | 2
    readonly retain: boolean
  }

  /** A handler: what it returns (or its promise) is its result. */
  export type Handler<Event = unknown, Result = unknown> = (
    event: Event,
    context: Context,
    callback: (error?: unknown, result?: Result) => void,
  ) => unknown
}

/** The handler's second argument. */
type Context = import('fescue').Context
