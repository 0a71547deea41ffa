/** A function as `status` and the API show it: one row, plain data. */
import type { ErrorCode, FescueError } from '#base/errors.ts'
import type { FunctionStats } from '#sandbox/sandbox.ts'
import type { ActiveFunction } from './active-function.ts'
import type { FunctionEntry } from './catalog.ts'
import type { WaitReason } from './function-runner.ts'
import type { LastError } from './verdicts.ts'

/**
 * `failing`: the last runs failed. `open`: its breaker is open, it runs only as a probe. `unavailable`: there is
 * a folder, but never was a revision that could be built.
 */
export type FunctionCondition = 'running' | 'failing' | 'open' | 'disabled' | 'detached' | 'unavailable'

export interface FunctionStatus {
  readonly name: string
  readonly condition: FunctionCondition
  /** Why it is not running. */
  readonly reason?: string
  /** Why the folder's present content is not what runs. */
  readonly problem?: { readonly code: ErrorCode; readonly message: string }
  readonly description: string
  readonly revision?: string
  readonly topics: readonly string[]
  readonly schedules: readonly { readonly name: string; readonly schedule: string; readonly nextAt: number }[]
  readonly publish: readonly string[]
  readonly inbox: {
    readonly records: number
    readonly bytes: number
    readonly maxBytes: number
    readonly oldestAt?: number
  }
  readonly deadLetters: number
  readonly stateKeys: number
  readonly stateBytes: number
  /** Since the daemon started. */
  readonly invocations: Readonly<Record<'success' | 'error' | 'timeout' | 'killed' | 'refused', number>>
  readonly lastError?: LastError
  readonly waitingFor?: WaitReason
  readonly sandbox?: FunctionStats
  /** Milliseconds since the epoch. */
  readonly detachedAt?: number
  readonly purgeAt?: number
}

const noInvocations = { success: 0, error: 0, timeout: 0, killed: 0, refused: 0 }
const nothing = {
  description: '',
  topics: [],
  schedules: [],
  publish: [],
  inbox: { records: 0, bytes: 0, maxBytes: 0 },
  deadLetters: 0,
  stateKeys: 0,
  stateBytes: 0,
  invocations: noInvocations,
} as const

/** A folder from which no revision could be made yet. */
export function unavailableStatus(name: string, error: FescueError): FunctionStatus {
  return { name, condition: 'unavailable', ...problemOf(error), ...nothing }
}

/** A function whose folder is gone. */
export function detachedStatus(
  entry: FunctionEntry & { state: 'detached' },
  kept: Pick<FunctionStatus, 'inbox' | 'deadLetters'>,
  purgeAt: number,
): FunctionStatus {
  const { name, revisions, filters, detachedAt } = entry
  const reason = 'its folder is gone; inbox and state are kept'
  return {
    ...nothing,
    name,
    condition: 'detached',
    reason,
    revision: revisions[0],
    topics: filters,
    ...kept,
    detachedAt,
    purgeAt,
  }
}

export function activeStatus(
  active: ActiveFunction,
  error: FescueError | undefined,
  schedules: FunctionStatus['schedules'],
  sandbox: FunctionStats | undefined,
): FunctionStatus {
  const { name, inbox, state, dead, runner, metrics, revision, unavailable } = active
  const { log, checkpoint } = inbox
  const { lastError, waitingFor } = runner
  return {
    name,
    condition: conditionOf(active),
    ...(unavailable === undefined ? {} : { reason: unavailable }),
    ...problemOf(error),
    description: revision?.manifest.description ?? '',
    ...(revision === undefined ? {} : { revision: revision.id }),
    topics: revision?.manifest.topics.map(({ topic }) => topic) ?? [],
    schedules,
    publish: revision?.manifest.publish ?? [],
    inbox: {
      records: log.end - Math.max(checkpoint.low, log.head),
      bytes: log.bytes,
      maxBytes: log.limits.maxBytes,
      ...(log.oldestAt === undefined ? {} : { oldestAt: log.oldestAt }),
    },
    deadLetters: dead.count,
    stateKeys: state.keys,
    stateBytes: state.bytes,
    invocations: {
      success: metrics.counted('success'),
      error: metrics.counted('error'),
      timeout: metrics.counted('timeout'),
      killed: metrics.counted('killed'),
      refused: metrics.counted('refused'),
    },
    ...(lastError === undefined ? {} : { lastError }),
    ...(waitingFor === undefined ? {} : { waitingFor }),
    ...(sandbox === undefined ? {} : { sandbox }),
  }
}

function problemOf(error: FescueError | undefined): Pick<FunctionStatus, 'problem'> {
  return error === undefined ? {} : { problem: { code: error.code, message: error.message } }
}

function conditionOf({ runner }: ActiveFunction): FunctionCondition {
  if (runner.standing === 'disabled') return 'disabled'
  if (runner.breaker.kind !== 'closed') return 'open'
  return runner.breaker.failures > 0 ? 'failing' : 'running'
}
