/**
 * Whatever a function threw as Lambda's error document: three texts with bounds (functions throw what they like:
 * getters that loop, proxies, megabytes). Runs as part of the invocation, so its deadline covers the getters.
 */
import { isError, NativeError, stringIncludes, stringSlice, stringSplit, toText } from './natives.ts'

export const errorTypeCharactersMax = 256
export const errorMessageCharactersMax = 2048
export const traceLinesMax = 32
export const traceLineCharactersMax = 512

export interface ErrorDocument {
  readonly errorType: string
  readonly errorMessage: string
  /** Lines by number from 0. */
  readonly trace: Record<number, string>
  readonly traceLines: number
}

function bounded(value: unknown, charactersMax: number): string {
  const text = toText(value)
  return text.length > charactersMax ? `${stringSlice(text, 0, charactersMax)}…` : text
}

/** Stack lines of the function's own code: what lies below the handler is the trampoline's. */
function traceOf(stack: unknown): Pick<ErrorDocument, 'trace' | 'traceLines'> {
  const trace: Record<number, string> = { __proto__: null } as never
  let traceLines = 0
  if (typeof stack === 'string') {
    const lines = stringSplit(stringSlice(stack, 0, 32_768), '\n', traceLinesMax * 2)
    for (let i = 0; i < lines.length && traceLines < traceLinesMax; i++) {
      const line = lines[i] ?? ''
      if (!stringIncludes(line, '(fescue:') && !stringIncludes(line, 'at fescue:'))
        trace[traceLines++] = bounded(line, traceLineCharactersMax)
    }
  }
  return { trace, traceLines }
}

function describe(thrown: unknown): ErrorDocument {
  if (typeof thrown === 'object' && thrown !== null && (isError(thrown) || thrown instanceof NativeError)) {
    const error = thrown as Error
    return {
      errorType: bounded(error.name, errorTypeCharactersMax),
      errorMessage: bounded(error.message, errorMessageCharactersMax),
      ...traceOf(error.stack),
    }
  }
  return makeError(typeof thrown, bounded(thrown, errorMessageCharactersMax))
}

/** The document of anything thrown; never throws. */
export function errorDocument(thrown: unknown): ErrorDocument {
  try {
    return describe(thrown)
  } catch {
    return makeError('Error', 'the thrown value cannot be shown: reading it throws')
  }
}

export function makeError(errorType: string, errorMessage: string): ErrorDocument {
  return { errorType, errorMessage, trace: { __proto__: null } as never, traceLines: 0 }
}
