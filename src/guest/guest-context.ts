/**
 * The `context` of a handler: AWS Lambda's fields (aws-lambda-nodejs-runtime-interface-client, InvokeContext.js) with the
 * message's topic beside them, and `clientContext.custom.subject` as in AWS IoT Greengrass V1.
 *
 * What few handlers read is computed when it is read.
 */
import type { Invocation } from './invocation.ts'
import type { RecordedClock } from './recorded-clock.ts'

/** What the context takes from the function's spec. */
export interface ContextSpec {
  readonly name: string
  readonly version: string
  /** Lambda gives it as text. */
  readonly memoryLimit: string
  readonly arn: string
  readonly logGroup: string
  readonly timeoutMs: number
}

export type Settle = (failed: boolean, value: unknown) => void

export class HandlerContext {
  readonly functionName: string
  readonly functionVersion: string
  readonly memoryLimitInMB: string
  readonly invokedFunctionArn: string
  readonly logGroupName: string
  readonly logStreamName: string
  readonly topic: string
  readonly time: number
  readonly attempt: number
  readonly qos: number
  readonly retain: boolean
  callbackWaitsForEmptyEventLoop = true
  readonly #invocation: Invocation
  readonly #settle: Settle
  readonly #clock: RecordedClock
  readonly #deadlineAt: number

  constructor(spec: ContextSpec, invocation: Invocation, clock: RecordedClock, settle: Settle) {
    this.functionName = spec.name
    this.functionVersion = spec.version
    this.memoryLimitInMB = spec.memoryLimit
    this.invokedFunctionArn = spec.arn
    this.logGroupName = spec.logGroup
    this.logStreamName = spec.version
    this.topic = invocation.topic
    this.time = invocation.time
    this.attempt = invocation.attempt
    this.qos = invocation.flags & 3
    this.retain = (invocation.flags & 4) !== 0
    this.#invocation = invocation
    this.#clock = clock
    this.#settle = settle
    this.#deadlineAt = invocation.startedAt + spec.timeoutMs
  }

  get awsRequestId(): string {
    return this.#invocation.id
  }

  /** Both spellings, as Greengrass's Node and Python SDKs have them. */
  get clientContext(): { custom: { subject: string }; Custom: { subject: string } } {
    const subject = this.topic
    return { custom: { subject }, Custom: { subject } }
  }

  /** Milliseconds until the deadline on the recorded clock. */
  getRemainingTimeInMillis(): number {
    return this.#deadlineAt - this.#clock.now
  }

  done(error: unknown, result: unknown): void {
    if (error === null || error === undefined) this.#settle(false, result)
    else this.#settle(true, error)
  }

  succeed(result: unknown): void {
    this.#settle(false, result)
  }

  /** Without an error it fails with the text 'handled', as Lambda does. */
  fail(error: unknown): void {
    this.#settle(true, error === null || error === undefined ? 'handled' : error)
  }
}
