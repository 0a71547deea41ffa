/** Error documents of failures that the platform, not the function, puts into words (Lambda's names for them). */
import type { ErrorBody } from '#base/wire/executor-protocol.ts'

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
