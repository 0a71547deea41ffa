/**
 * The judge of a fault run. It knows what was sent and acknowledged, and what the cloud, the dead letters and
 * the subscribers hold, and holds them against the promise word for word:
 *
 *  - each admitted message has one input record in the cloud, and per function either one output record and
 *    one state change, or one dead letter;
 *  - state changes form 1, 2, 3 … without a hole or a repeat;
 *  - records of one topic are in the order of sending;
 *  - each persistent subscriber got each output at least once, first occurrences in order.
 */
import type { Publisher } from './publisher.ts'
import type { Subscriber } from './subscriber.ts'

export interface CloudRecord {
  readonly topic: string
  readonly data: { readonly p: string; readonly n: number; readonly count?: number; readonly total?: number }
}

export interface DeadLetterRow {
  readonly function: string
  readonly p: string
  readonly n: number
}

export interface Evidence {
  readonly publishers: readonly Publisher[]
  readonly cloud: readonly CloudRecord[]
  readonly deadLetters: readonly DeadLetterRow[]
  /** Each with the prefix of the topics that it subscribed to. */
  readonly subscribers: readonly { readonly subscriber: Subscriber; readonly prefix: string }[]
  /** What each state counter stood at before, see `highest`. */
  readonly bases: ReadonlyMap<string, number>
}

const functions = ['count', 'total'] as const
/** Violations of one kind that are spelled out; the rest is counted. */
const shownMax = 5

/** What breaks the promise, in plain lines; empty when it holds. */
export function judge(evidence: Evidence): string[] {
  const problems: string[] = []
  const report = (kind: string, found: readonly string[]) => {
    if (found.length > 0) problems.push(`${kind}: ${found.length} (${found.slice(0, shownMax).join(', ')})`)
  }
  const byPrefix = (prefix: string) => evidence.cloud.filter(record => record.topic.startsWith(prefix))
  const inputs = countBy(byPrefix('in/'))
  const lost: string[] = []
  const doubled: string[] = []
  for (const publisher of evidence.publishers) {
    if (publisher.sessionsLost > 0)
      problems.push(`session of ${publisher.name} not found again ${publisher.sessionsLost} times`)
    for (let n = publisher.settled; n < publisher.sent; n++) {
      const copies = inputs.get(`${publisher.name}/${n}`) ?? 0
      if (copies === 0 && publisher.admitted.has(n)) lost.push(`${publisher.name}/${n}`)
      if (copies > 1) doubled.push(`${publisher.name}/${n}`)
    }
  }
  report('admitted, not in the cloud', lost)
  report('input twice in the cloud', doubled)
  for (const name of functions) judgeFunction(name, evidence, inputs, byPrefix(`out/${name}/`), report)
  report(
    'out of order in the cloud',
    outOfOrder(evidence.cloud.map(({ topic, data }) => ({ topic, n: data.n }))),
  )
  judgeSubscribers(evidence, report)
  return problems
}

type Report = (kind: string, found: readonly string[]) => void

function judgeFunction(
  name: (typeof functions)[number],
  evidence: Evidence,
  inputs: ReadonlyMap<string, number>,
  outputs: readonly CloudRecord[],
  report: Report,
): void {
  const done = countBy(outputs)
  const dead = new Map<string, number>()
  for (const row of evidence.deadLetters.filter(row => row.function === name)) {
    const key = `${row.p}/${row.n}`
    dead.set(key, (dead.get(key) ?? 0) + 1)
  }
  const missing: string[] = []
  const twice: string[] = []
  for (const key of inputs.keys()) {
    const times = (done.get(key) ?? 0) + (dead.get(key) ?? 0)
    if (times === 0) missing.push(key)
    if (times > 1) twice.push(`${key} (${done.get(key) ?? 0} outputs, ${dead.get(key) ?? 0} dead letters)`)
  }
  report(`${name}: input without an effect`, missing)
  report(`${name}: input with more than one effect`, twice)
  const holes: string[] = []
  for (const [key, values] of stateChanges(outputs)) {
    const first = (evidence.bases.get(key) ?? 0) + 1
    const sorted = values.toSorted((a, b) => a - b)
    const wrong = sorted.findIndex((value, i) => value !== first + i)
    if (wrong >= 0) holes.push(`${key}: ${sorted[wrong]} where ${first + wrong} should be`)
  }
  report(`${name}: state changes lost or doubled`, holes)
}

/** Values that each state key took, as outputs tell them: one key per topic of `count`, one for all of `total`. */
function stateChanges(outputs: readonly CloudRecord[]): Map<string, number[]> {
  const changes = new Map<string, number[]>()
  for (const { topic, data } of outputs) {
    const value = data.count ?? data.total
    if (value === undefined) continue
    const key = data.count === undefined ? 'total' : topic
    const values = changes.get(key) ?? []
    values.push(value)
    changes.set(key, values)
  }
  return changes
}

/** Where the state counters stand at the end of a round: the base of the next. */
export function highest(evidence: Evidence): Map<string, number> {
  const bases = new Map(evidence.bases)
  for (const [key, values] of stateChanges(evidence.cloud))
    bases.set(
      key,
      values.reduce((most, value) => Math.max(most, value), bases.get(key) ?? 0),
    )
  return bases
}

function judgeSubscribers(evidence: Evidence, report: Report): void {
  for (const { subscriber, prefix } of evidence.subscribers) {
    if (subscriber.sessionsLost > 0)
      report(`session of ${subscriber.name} lost`, [String(subscriber.sessionsLost)])
    const got = new Set<string>()
    const first: { topic: string; n: number }[] = []
    for (const { topic, payload } of subscriber.received) {
      const { p, n } = JSON.parse(payload)
      const key = `${topic} ${p}/${n}`
      if (got.has(key)) continue
      got.add(key)
      first.push({ topic, n })
    }
    const missing = evidence.cloud
      .filter(({ topic }) => topic.startsWith(prefix))
      .map(({ topic, data }) => `${topic} ${data.p}/${data.n}`)
      .filter(key => !got.has(key))
    report(`${subscriber.name} never got`, missing)
    report(`${subscriber.name} got out of order`, outOfOrder(first))
  }
}

function countBy(records: readonly CloudRecord[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { data } of records) {
    const key = `${data.p}/${data.n}`
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  return counts
}

function outOfOrder(items: readonly { topic: string; n: number }[]): string[] {
  const last = new Map<string, number>()
  const found: string[] = []
  for (const { topic, n } of items) {
    const before = last.get(topic) ?? -1
    if (n < before) found.push(`${topic}: ${n} after ${before}`)
    last.set(topic, Math.max(n, before))
  }
  return found
}
