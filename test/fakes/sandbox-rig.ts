/** Helpers for tests of the sandbox: specs, items, and a batch as one promise. */
import type { BatchEnd, BatchItem, FunctionSpec, LogLine, Sandbox, Success } from '#sandbox/sandbox.ts'

/** A spec whose module is `code`; `handler` bodies are easiest as `exports.handler = async event => …`. */
export function specOf(name: string, code: string, more: Partial<FunctionSpec> = {}): FunctionSpec {
  return {
    name,
    revision: 'ab'.repeat(32),
    code,
    handler: 'index.handler',
    timeoutMs: 2000,
    memoryMiB: 32,
    concurrency: 1,
    environment: {},
    payload: 'json',
    timeZone: 'UTC',
    publish: ['out/#'],
    isolation: 'shared',
    seedKey: '5e'.repeat(32),
    allow: [],
    ...more,
  }
}

export function itemOf(n: number, event: unknown, more: Partial<BatchItem> = {}): BatchItem {
  return {
    invocationId: `00000000-0000-8000-8000-${n.toString(16).padStart(12, '0')}`,
    attempt: 1,
    topic: 'in/a',
    payload: Buffer.isBuffer(event) ? event : Buffer.from(JSON.stringify(event) ?? ''),
    time: 1_700_000_000_000 + n,
    qos: 1,
    retain: false,
    orderKey: 'in/a',
    ...more,
  }
}

export interface Ran {
  readonly end: BatchEnd
  readonly results: ReadonlyMap<number, Success>
  /** Indices in the order in which results came. */
  readonly order: readonly number[]
  readonly logs: readonly LogLine[]
  readonly elapsedMs: number
  /** Keys that the sandbox read from the invoker's side. */
  readonly reads: readonly string[]
}

/** Runs one batch; state effects of results are applied to `state` as an invoker would stage them. */
export function runBatch(
  sandbox: Sandbox,
  name: string,
  items: readonly BatchItem[],
  state: Map<string, string> = new Map(),
): Promise<Ran> {
  const startedAt = performance.now()
  const results = new Map<number, Success>()
  const order: number[] = []
  const logs: LogLine[] = []
  const reads: string[] = []
  // The sandbox's own timers keep no process alive; a test must.
  const alive = setInterval(() => {}, 1000)
  const ran = new Promise<Ran>((resolve, reject) => {
    let ended = false
    sandbox.run(name, items, {
      result(index, success) {
        if (ended) reject(new Error(`result ${index} after the end`))
        if (results.has(index)) reject(new Error(`a second result ${index}`))
        results.set(index, success)
        order.push(index)
        for (const effect of success.effects) {
          if (effect.type === 'set') state.set(effect.key, effect.value)
          if (effect.type === 'delete') state.delete(effect.key)
        }
      },
      ended(end) {
        if (ended) reject(new Error('a second end'))
        ended = true
        resolve({ end, results, order, logs, reads, elapsedMs: performance.now() - startedAt })
      },
      log: line => logs.push(line),
      async readState(key) {
        reads.push(key)
        return state.get(key)
      },
    })
  })
  return ran.finally(() => clearInterval(alive))
}

/** Runs one item and gives its value, or throws what ended it. */
export async function callOnce(
  sandbox: Sandbox,
  name: string,
  event: unknown,
  state?: Map<string, string>,
): Promise<unknown> {
  const { end, results } = await runBatch(sandbox, name, [itemOf(1, event)], state)
  const value = results.get(0)?.value
  if (end.kind !== 'done' || value === undefined) throw new Error(JSON.stringify(end))
  return JSON.parse(value)
}
