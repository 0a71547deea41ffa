/** Functions and dead letters as the API shows them. */
import type { DeadLetter, FunctionInfo } from '#api/backend.ts'
import type { DeadLetter as StoredDeadLetter } from '#invoker/dead-letter-log.ts'
import type { FunctionCondition, FunctionStatus } from '#invoker/function-status.ts'
import type { Refused } from '#uplink/refused.ts'
import { previewOf } from './live-feed.ts'

const states: Record<FunctionCondition, FunctionInfo['state']> = {
  running: 'ready',
  failing: 'retrying',
  open: 'retrying',
  disabled: 'disabled',
  detached: 'detached',
  unavailable: 'failed',
}

export function functionInfo(status: FunctionStatus): FunctionInfo {
  const { name, description, revision, topics, schedules, inbox, deadLetters, invocations } = status
  const reason = status.reason ?? status.problem?.message
  const { success, error, timeout, killed, refused } = invocations
  return {
    name,
    state: stateOf(status),
    description,
    triggers: [...topics.map(topic => ({ topic })), ...schedules.map(({ schedule }) => ({ schedule }))],
    inbox: {
      records: inbox.records,
      bytes: inbox.bytes,
      ...(inbox.oldestAt !== undefined && { oldestAt: inbox.oldestAt }),
    },
    deadLetters,
    invocations: { ok: success, error: error + killed + refused, timeout },
    ...(reason !== undefined && { reason }),
    ...(revision !== undefined && { revision }),
    ...(status.lastError !== undefined && { lastError: lastErrorText(status.lastError) }),
  }
}

function stateOf({ condition, inbox, sandbox }: FunctionStatus): FunctionInfo['state'] {
  if (condition === 'running' && sandbox?.state === 'running') return 'running'
  // Its last runs failed, but nothing waits for another try: what failed is a dead letter.
  if (condition === 'failing' && inbox.records === 0) return 'ready'
  return states[condition]
}

function lastErrorText({ error }: NonNullable<FunctionStatus['lastError']>): string {
  return `${error.errorType}: ${error.errorMessage}`
}

export function deadLetterInfo(letter: StoredDeadLetter): DeadLetter {
  const { function: name, offset, diedAt, topic, payload, attempts, revision, error } = letter
  const text = previewWhole(payload)
  return {
    function: name,
    offset,
    time: diedAt,
    topic,
    attempts,
    revision,
    error,
    ...(text === undefined ? { payloadBase64: payload.toString('base64') } : { payload: text }),
  }
}

export function refusedInfo({ route, refusedOffset, at, topic, payload, error }: Refused): DeadLetter {
  const text = previewWhole(payload)
  return {
    route,
    offset: refusedOffset,
    time: at,
    topic,
    attempts: 1,
    error: { errorType: error.code, errorMessage: error.message, trace: [] },
    ...(text === undefined ? { payloadBase64: payload.toString('base64') } : { payload: text }),
  }
}

/** The whole payload as text, or undefined when it is no UTF-8. */
function previewWhole(payload: Buffer): string | undefined {
  return previewOf(payload) === undefined ? undefined : payload.toString('utf8')
}
