/** Error documents of failures that the platform, not the function, puts into words (Lambda's names for them). */
import type { EndedBody, ErrorBody } from '#base/wire/executor-protocol.ts'
import { idOfItem } from '#base/wire/items.ts'
import type { Flight } from './flight.ts'

const messageCharactersMax = 2048

/** As AWS Lambda words it: two decimals. */
export function timedOut(id: string, timeoutMs: number): ErrorBody {
  return {
    errorType: 'Sandbox.Timedout',
    errorMessage: `RequestId: ${id} Error: Task timed out after ${(timeoutMs / 1000).toFixed(2)} seconds`,
    trace: [],
  }
}

/** The function's memory or process ended. */
export function exited(id: string, reason: string): ErrorBody {
  return {
    errorType: 'Runtime.ExitError',
    errorMessage: `RequestId: ${id} Error: Runtime exited with error: ${reason}`,
    trace: [],
  }
}

/** A rejection that nobody handled, as isolated-vm passes it on: an Error of this process or a primitive. */
export function unhandledRejection(reason: unknown): ErrorBody {
  const text = reason instanceof Error ? `${reason.name}: ${reason.message}` : String(reason)
  const stack = reason instanceof Error ? String(reason.stack ?? '') : ''
  return {
    errorType: 'Runtime.UnhandledPromiseRejection',
    errorMessage: text.slice(0, messageCharactersMax),
    trace: stack
      .split('\n', 32)
      .filter(line => !/\(fescue:|at fescue:|node:internal|file:\/\//.test(line))
      .map(line => line.slice(0, 512)),
  }
}

/** The module does not compile. */
export function syntaxError(error: unknown): ErrorBody {
  const message = error instanceof Error ? error.message : String(error)
  return {
    errorType: 'Runtime.UserCodeSyntaxError',
    errorMessage: message.slice(0, messageCharactersMax),
    trace: [],
  }
}

/**
 * How a run ends whose isolate is gone, and why `cause` lost it: an item is charged. `between`: its time ran out with no
 * item in the handler. An item that finished in the very moment of its deadline is not charged.
 */
export function lossEnd(
  cause: Flight,
  between: boolean,
  spec: { readonly payload: 'json' | 'binary'; readonly timeoutMs: number },
  error: unknown,
): EndedBody['end'] {
  const { fate, items, nextIndex } = cause
  const last = items.first + items.count - 1
  const expired = fate.kind === 'expired' && !between
  if (expired && fate.index < nextIndex) return { kind: 'returned' }
  const index = expired ? fate.index : Math.min(nextIndex, last)
  const id = idOfItem(items, index - items.first, spec.payload)
  if (fate.kind === 'expired') return { kind: 'timeout', index, error: timedOut(id, spec.timeoutMs) }
  if (fate.kind === 'flooded') return { kind: 'failed', index, error: exited(id, 'too much output') }
  const message = error instanceof Error ? error.message : String(error)
  return {
    kind: 'failed',
    index,
    error: exited(id, message.includes('memory') ? 'signal: killed' : message),
  }
}
