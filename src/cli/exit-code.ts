/** What the exit codes of `fescue` mean; the same table stands under every `--help`. */
import type { ErrorCode, FescueError } from '#base/errors.ts'

export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  unreachable: 3,
  notFound: 4,
  configInvalid: 5,
  functionThrew: 6,
  timedOut: 7,
} as const

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes]

const byErrorCode: Partial<Record<ErrorCode, ExitCode>> = {
  FESCUE_DAEMON_UNREACHABLE: exitCodes.unreachable,
  FESCUE_NOT_FOUND: exitCodes.notFound,
  FESCUE_CONFIG_INVALID: exitCodes.configInvalid,
  FESCUE_CONFIG_UNREADABLE: exitCodes.configInvalid,
  FESCUE_LISTEN_NO_USERS: exitCodes.configInvalid,
  FESCUE_MANIFEST_INVALID: exitCodes.configInvalid,
  FESCUE_BUNDLE_FAILED: exitCodes.configInvalid,
  FESCUE_FUNCTION_FAILED: exitCodes.functionThrew,
  FESCUE_FUNCTION_TIMEOUT: exitCodes.timedOut,
  FESCUE_TIMED_OUT: exitCodes.timedOut,
  FESCUE_REQUEST_INVALID: exitCodes.usage,
  FESCUE_NAME_INVALID: exitCodes.usage,
  FESCUE_TOPIC_INVALID: exitCodes.usage,
}

export function exitCodeOf(error: FescueError): ExitCode {
  return byErrorCode[error.code] ?? exitCodes.failed
}

export const exitCodeHelp = `
Exit codes:
  0 ok   1 failed   2 wrong usage   3 no daemon answers   4 not found
  5 configuration invalid   6 the function threw   7 timed out   130 interrupted`
