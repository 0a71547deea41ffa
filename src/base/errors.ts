/**
 * The one error class and the one table of codes.
 *
 * Every failure that a user or another part can meet carries a stable code from this table. The text says
 * what happened and how to mend it; `cause` keeps the chain. `src/base/errors.md` is the same table for
 * readers, and a test holds the two together.
 */

interface ErrorKind {
  /** HTTP status when the API answers with it (RFC 9457). */
  readonly status: number
  /** Whether the same call may succeed later without anything being changed. */
  readonly retryable: boolean
  /** One line for the docs: when it happens and the mend. */
  readonly doc: string
}

export const errorTable = {
  FESCUE_INTERNAL: {
    status: 500,
    retryable: false,
    doc: 'A defect in Fescue: please report it with the log.',
  },
  FESCUE_STOPPING: {
    status: 503,
    retryable: true,
    doc: 'The daemon is stopping; try again after the restart.',
  },
  FESCUE_NODE_VERSION: {
    status: 500,
    retryable: false,
    doc: 'Node is older than 24: run through npm, which brings its own.',
  },
  FESCUE_NAME_INVALID: { status: 400, retryable: false, doc: 'A name does not match [A-Za-z0-9._-]{1,64}.' },
  FESCUE_TOPIC_INVALID: {
    status: 400,
    retryable: false,
    doc: 'A topic or topic filter breaks MQTT 3.1.1 section 4.7.',
  },
  FESCUE_CONFIG_INVALID: {
    status: 400,
    retryable: false,
    doc: 'The device config has an error; the message gives file, line and the nearest valid name. The running config stays.',
  },
  FESCUE_CONFIG_UNREADABLE: {
    status: 400,
    retryable: false,
    doc: 'The config file cannot be read: check the path and its mode.',
  },
  FESCUE_CHECK_FAILED: {
    status: 500,
    retryable: false,
    doc: 'fescue check found what would keep the daemon from working; each line of its list has the mend.',
  },
  FESCUE_RESTART_NEEDED: {
    status: 409,
    retryable: false,
    doc: 'A changed config key can take effect with a restart only; nothing was applied. The answer names the key.',
  },
  FESCUE_LISTEN_NO_USERS: {
    status: 400,
    retryable: false,
    doc: 'A listener on the network needs at least one user: fescue devices add NAME.',
  },
  FESCUE_PORT_TAKEN: {
    status: 500,
    retryable: true,
    doc: 'Another process listens on the port: stop it or choose another port.',
  },
  FESCUE_STORE_LOCKED: {
    status: 500,
    retryable: true,
    doc: 'Another daemon uses the data folder: stop it or choose another with --data.',
  },
  FESCUE_STORE_FORMAT: {
    status: 500,
    retryable: false,
    doc: 'The data folder was written by a newer Fescue: upgrade, or choose another folder with --data.',
  },
  FESCUE_STORE_CLOSED: { status: 503, retryable: true, doc: 'The store is closed: the daemon is stopping.' },
  FESCUE_STORE_FAILED: {
    status: 503,
    retryable: true,
    doc: 'A write to disk failed; Fescue re-opens the store and retries by itself. See status.',
  },
  FESCUE_STORE_FULL: {
    status: 503,
    retryable: true,
    doc: 'Free disk is below the floor, or a log with overflow "block" is full. Free some space or raise the limit.',
  },
  FESCUE_STORE_DAMAGED: {
    status: 500,
    retryable: false,
    doc: 'A record on disk failed its checksum; what was lost stands in the loss ledger.',
  },
  FESCUE_TRANSACTION_TOO_LARGE: {
    status: 413,
    retryable: false,
    doc: 'One transaction exceeds the batch limit: publish less in one invocation.',
  },
  FESCUE_PACKET_TOO_LARGE: {
    status: 413,
    retryable: false,
    doc: 'An MQTT packet exceeds mqtt.maxPacketBytes; the connection is closed.',
  },
  FESCUE_PACKET_MALFORMED: {
    status: 400,
    retryable: false,
    doc: 'An MQTT packet breaks a MUST of MQTT 3.1.1; the connection is closed.',
  },
  FESCUE_NOT_AUTHORIZED: {
    status: 401,
    retryable: false,
    doc: 'Missing or wrong credentials. The API token stands in DIR/token.',
  },
  FESCUE_FORBIDDEN: {
    status: 403,
    retryable: false,
    doc: 'The credentials are right but do not permit this.',
  },
  FESCUE_NOT_FOUND: {
    status: 404,
    retryable: false,
    doc: 'No such function, device, log or route; the message names the nearest.',
  },
  FESCUE_CONFLICT: { status: 409, retryable: false, doc: 'The name is taken already.' },
  FESCUE_REQUEST_INVALID: {
    status: 400,
    retryable: false,
    doc: 'The request cannot be understood; the message says which part.',
  },
  FESCUE_METHOD_NOT_ALLOWED: {
    status: 405,
    retryable: false,
    doc: 'The path exists but not with this method; the Allow header names those it takes.',
  },
  FESCUE_MEDIA_TYPE: {
    status: 415,
    retryable: false,
    doc: 'The API takes JSON only: send Content-Type: application/json.',
  },
  FESCUE_BUSY: {
    status: 429,
    retryable: true,
    doc: 'Too many streams or requests at once; close some or try again.',
  },
  FESCUE_REQUEST_TOO_LARGE: { status: 413, retryable: false, doc: 'The request body exceeds its limit.' },
  FESCUE_MANIFEST_INVALID: {
    status: 400,
    retryable: false,
    doc: 'A function.yaml has an error; the last good revision keeps running.',
  },
  FESCUE_BUNDLE_FAILED: {
    status: 400,
    retryable: false,
    doc: 'A function does not compile; the last good revision keeps running. The message has file, line and code frame.',
  },
  FESCUE_BUNDLER_MISSING: {
    status: 500,
    retryable: false,
    doc: 'esbuild is not installed: install it, or deploy a built bundle.',
  },
  FESCUE_FUNCTION_FAILED: {
    status: 502,
    retryable: true,
    doc: 'The handler threw or returned what JSON cannot hold.',
  },
  FESCUE_FUNCTION_TIMEOUT: { status: 504, retryable: true, doc: 'The handler ran longer than its timeout.' },
  FESCUE_FUNCTION_UNAVAILABLE: {
    status: 503,
    retryable: true,
    doc: 'The function is disabled, detached or has no good revision.',
  },
  FESCUE_PERMISSION_DENIED: {
    status: 403,
    retryable: false,
    doc: 'A function did what its manifest does not grant; the message says which line to add.',
  },
  FESCUE_STATE_FULL: {
    status: 507,
    retryable: false,
    doc: 'A function keeps more state than it may: delete keys that are no longer needed.',
  },
  FESCUE_LOOP: {
    status: 508,
    retryable: false,
    doc: 'A message passed 16 functions: the triggering input became a dead letter.',
  },
  FESCUE_EXECUTOR_DIED: {
    status: 502,
    retryable: true,
    doc: 'The process that runs the functions died; its messages run again.',
  },
  FESCUE_UPLINK_REFUSED: {
    status: 502,
    retryable: true,
    doc: 'The cloud refused the credentials or the request; see status for its answer.',
  },
  FESCUE_UPLINK_UNREACHABLE: {
    status: 502,
    retryable: true,
    doc: 'The cloud cannot be reached; records wait in the outbox.',
  },
  FESCUE_TIMED_OUT: {
    status: 504,
    retryable: true,
    doc: 'What was waited for did not come within the time that was given.',
  },
  FESCUE_DAEMON_UNREACHABLE: {
    status: 502,
    retryable: true,
    doc: 'No daemon answers at the address: start one, or name its data folder with --data.',
  },
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof errorTable

/** The only error class of the project. `message` says what happened and how to mend it. */
export class FescueError extends Error {
  readonly code: ErrorCode
  readonly retryable: boolean

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'FescueError'
    this.code = code
    this.retryable = errorTable[code].retryable
  }

  /** HTTP status of this error's code. */
  get status(): number {
    return errorTable[this.code].status
  }
}

/** Wraps anything thrown into a FescueError; a FescueError passes unchanged. */
export function asFescueError(error: unknown, code: ErrorCode = 'FESCUE_INTERNAL'): FescueError {
  if (error instanceof FescueError) return error
  return new FescueError(code, error instanceof Error ? error.message : String(error), { cause: error })
}
