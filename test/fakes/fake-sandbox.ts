/**
 * A sandbox without isolates: handlers are functions of the test. It keeps the contract of `Sandbox` (order by
 * key, one result per item, `ended` last) and offers the nasty instants: a batch held before a result, a
 * handler that times out, a neighbour that kills the executor.
 */
import type {
  BatchEnd,
  BatchItem,
  BatchSink,
  Effect,
  ErrorDocument,
  FunctionSpec,
  FunctionStats,
  Sandbox,
} from '#sandbox/sandbox.ts'

interface Running {
  readonly name: string
  readonly sink: BatchSink
  over: boolean
  failing: boolean
}

/** What a handler may do. */
export class FakeContext {
  readonly effects: Effect[] = []
  readonly item: BatchItem
  readonly spec: FunctionSpec
  readonly #sink: BatchSink
  readonly #running: Running

  constructor(item: BatchItem, spec: FunctionSpec, running: Running) {
    this.item = item
    this.spec = spec
    this.#sink = running.sink
    this.#running = running
  }

  publish(
    topic: string,
    payload: string,
    { qos = 1, retain = false }: { qos?: 0 | 1 | 2; retain?: boolean } = {},
  ) {
    this.effects.push({ type: 'publish', topic, payload: Buffer.from(payload), qos, retain })
  }

  async get(key: string): Promise<unknown> {
    const own = this.effects.findLast(effect => effect.type !== 'publish' && effect.key === key)
    if (own?.type === 'set') return JSON.parse(own.value)
    if (own?.type === 'delete') return undefined
    const text = await this.#sink.readState(key)
    return text === undefined ? undefined : JSON.parse(text)
  }

  set(key: string, value: unknown) {
    this.effects.push({ type: 'set', key, value: JSON.stringify(value) })
  }

  delete(key: string) {
    this.effects.push({ type: 'delete', key })
  }

  /**
   * To be asked before throwing where a test counts attempts: with concurrency only the first failure of a batch
   * is charged, others come to nothing.
   */
  claimFailure(): boolean {
    if (this.#running.over || this.#running.failing) return false
    this.#running.failing = true
    return true
  }

  log(text: string) {
    this.#sink.log({ invocationId: this.item.invocationId, level: 'info', text })
  }
}

export type FakeHandler = (context: FakeContext) => unknown

/** Thrown by a handler to end its batch in another way than with an error. */
export class Ending extends Error {
  readonly kind: 'timeout' | 'returned' | 'killed' | 'killed-unknown' | 'broken'
  constructor(kind: Ending['kind']) {
    super(kind)
    this.kind = kind
  }
}

export class FakeSandbox implements Sandbox {
  readonly handlers = new Map<string, FakeHandler>()
  readonly specs = new Map<string, FunctionSpec>()
  /** Names of all batches in order of dispatch, with their size. */
  readonly batches: { name: string; items: number; revision: string }[] = []
  readonly unloaded: string[] = []
  readonly disabled = new Set<string>()
  readonly #running = new Set<Running>()

  load(spec: FunctionSpec): void {
    this.specs.set(spec.name, spec)
  }

  unload(name: string): void {
    this.unloaded.push(name)
    for (const running of this.#running) if (running.name === name) this.#end(running, { kind: 'returned' })
  }

  run(name: string, items: readonly BatchItem[], sink: BatchSink): void {
    const spec = this.specs.get(name)
    if (spec === undefined) throw new Error(`${name} is not loaded`)
    for (const each of this.#running) if (each.name === name) throw new Error(`${name} runs already`)
    this.batches.push({ name, items: items.length, revision: spec.revision })
    const running = { name, sink, over: false, failing: false }
    this.#running.add(running)
    const run =
      spec.concurrency === 1 ? this.#sequential(running, spec, items) : this.#concurrent(running, spec, items)
    run.then(
      () => this.#end(running, { kind: 'done' }),
      (failure: { index: number; error: unknown }) => this.#end(running, endOf(failure.index, failure.error)),
    )
  }

  prepare(): void {}

  stats(): readonly FunctionStats[] {
    return [...this.specs.keys()].map(
      (name): FunctionStats => ({
        name,
        state: this.disabled.has(name) ? 'disabled' : 'ready',
        reason: this.disabled.has(name) ? 'brought its executor down 3 times' : undefined,
        executorPid: undefined,
        heapBytes: 0,
        coldStartMs: undefined,
      }),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const running of this.#running) this.#end(running, { kind: 'returned' })
  }

  async #sequential(running: Running, spec: FunctionSpec, items: readonly BatchItem[]): Promise<void> {
    for (const [index, item] of items.entries()) await this.#one(running, spec, item, index)
  }

  async #concurrent(running: Running, spec: FunctionSpec, items: readonly BatchItem[]): Promise<void> {
    const waiting = items.map((item, index) => ({ item, index }))
    const keys = new Set<string>()
    const worker = async (): Promise<void> => {
      while (!running.over) {
        const at = waiting.findIndex(({ item }) => !keys.has(item.orderKey))
        const [next] = at === -1 ? [] : waiting.splice(at, 1)
        if (next === undefined) {
          if (waiting.length === 0) return
          await new Promise(resolve => setImmediate(resolve))
          continue
        }
        keys.add(next.item.orderKey)
        await this.#one(running, spec, next.item, next.index)
        keys.delete(next.item.orderKey)
      }
    }
    await Promise.all(Array.from({ length: spec.concurrency }, worker))
  }

  async #one(running: Running, spec: FunctionSpec, item: BatchItem, index: number): Promise<void> {
    if (running.over) return
    const context = new FakeContext(item, spec, running)
    const handler = this.handlers.get(running.name)
    const startedAt = Date.now()
    try {
      const value = JSON.stringify((await handler?.(context)) ?? null)
      if (!running.over)
        running.sink.result(index, { value, effects: context.effects, durationMs: 0.1, startedAt })
    } catch (error) {
      throw { index, error }
    }
  }

  #end(running: Running, end: BatchEnd): void {
    if (running.over) return
    running.over = true
    this.#running.delete(running)
    running.sink.ended(end)
  }
}

function endOf(index: number, thrown: unknown): BatchEnd {
  const error = documentOf(thrown)
  if (!(thrown instanceof Ending)) return { kind: 'failed', index, error }
  switch (thrown.kind) {
    case 'timeout':
      return { kind: 'timeout', index, error: { ...error, errorType: 'Sandbox.Timedout' } }
    case 'killed':
      return { kind: 'killed', index, error: { ...error, errorType: 'Runtime.ExitError' } }
    case 'killed-unknown':
      return { kind: 'killed', index: undefined, error: { ...error, errorType: 'Runtime.ExitError' } }
    case 'broken':
      return { kind: 'broken', error }
    case 'returned':
      return { kind: 'returned' }
  }
}

function documentOf(thrown: unknown): ErrorDocument {
  if (!(thrown instanceof Error)) return { errorType: typeof thrown, errorMessage: String(thrown), trace: [] }
  return { errorType: thrown.name, errorMessage: thrown.message, trace: thrown.stack?.split('\n') ?? [] }
}
