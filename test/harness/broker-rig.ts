/** A real broker on a real store (in memory unless a folder is given), with a hold on its database's writes. */
import { type Clock, systemClock } from '#base/clock.ts'
import { type Logger, silentLogger } from '#base/logger.ts'
import { type Metrics, noMetrics } from '#base/metrics.ts'
import type { Users } from '#broker/authentication.ts'
import { startBroker } from '#broker/broker.ts'
import type { Broker, BrokerLimits, BrokerOptions } from '#broker/broker-options.ts'
import type { DurableConsumer } from '#router/consumer.ts'
import { toRecord } from '#router/message.ts'
import { Retained } from '#router/retained.ts'
import { Router } from '#router/router.ts'
import type { CommitLog, LogLimits } from '#store/commit-log.ts'
import { openStore } from '#store/open.ts'
import type { LogRecord } from '#store/record.ts'
import type { Store } from '#store/store.ts'
import { FaultyBackend } from '../fakes/faulty-backend.ts'

export interface RigOptions {
  readonly folder?: string
  readonly clock?: Clock
  readonly limits?: Partial<BrokerLimits>
  readonly users?: Users
  readonly metrics?: Metrics
  readonly broker?: Partial<BrokerOptions>
}

export interface LogLine {
  readonly fields: Record<string, unknown>
  readonly message: string
}

export const nobody: Users = { size: 0, verify: async () => undefined, has: async () => false }

const roomy: LogLimits = { maxBytes: 64 * 1024 * 1024, overflow: 'block' }

export class BrokerRig implements AsyncDisposable {
  readonly store: Store
  readonly router: Router
  readonly broker: Broker
  readonly backend: FaultyBackend
  /** Warnings and errors that were logged. */
  readonly lines: LogLine[]
  #held: PromiseWithResolvers<void> | undefined

  private constructor(
    store: Store,
    router: Router,
    broker: Broker,
    backend: FaultyBackend,
    lines: LogLine[],
  ) {
    this.store = store
    this.router = router
    this.broker = broker
    this.backend = backend
    this.lines = lines
    backend.onBatch = () => this.#held?.promise
  }

  static async start(options: RigOptions = {}): Promise<BrokerRig> {
    const { folder, clock = systemClock, limits = {}, users = nobody, metrics = noMetrics } = options
    const lines: LogLine[] = []
    const logger = recorder(lines)
    const wrapped: FaultyBackend[] = []
    const store = await openStore({
      folder,
      clock: systemClock,
      logger: silentLogger,
      freeDiskMinBytes: 0,
      wrapBackend: inner => {
        const backend = new FaultyBackend(inner)
        wrapped.push(backend)
        return backend
      },
    })
    const backend = wrapped[0]!
    const retained = await Retained.open(store)
    const router = new Router({ store, retained, clock, durability: [], blockMs: 1_000 })
    const broker = await startBroker({
      store,
      router,
      users,
      clock,
      logger,
      metrics,
      host: '127.0.0.1',
      port: 0,
      limits,
      ...options.broker,
    })
    return new BrokerRig(store, router, broker, backend, lines)
  }

  get port(): number {
    return this.broker.port
  }

  /** Keeps the database from taking batches until the returned function is called. */
  holdWrites(): () => void {
    const held = Promise.withResolvers<void>()
    this.#held = held
    return () => {
      this.#held = undefined
      held.resolve()
    }
  }

  /** A log that takes every message of a filter, as a function's inbox does. */
  inbox(filter: string, limits: LogLimits = roomy): CommitLog {
    const log = this.store.log(`inbox.test${this.#logs++}`, limits)
    const consumer: DurableConsumer = { id: `test:${log.name}`, log, record: message => toRecord(message) }
    this.router.subscribe(consumer, filter, 2)
    return log
  }

  #logs = 0

  async [Symbol.asyncDispose](): Promise<void> {
    this.#held?.resolve()
    await this.broker[Symbol.asyncDispose]()
    await this.store[Symbol.asyncDispose]()
  }
}

/** All records of a log. */
export async function recordsOf(log: CommitLog): Promise<readonly LogRecord[]> {
  const records: LogRecord[] = []
  let from = log.head
  while (from < log.end) {
    const result = await log.read(from, { maxRecords: 1_000, maxBytes: 1024 * 1024 })
    records.push(...result.records)
    from = result.next
  }
  return records
}

export async function payloadsOf(log: CommitLog): Promise<string[]> {
  return (await recordsOf(log)).map(record => record.payload.toString())
}

function recorder(lines: LogLine[]): Logger {
  const note = (fields: object, message = '') => {
    lines.push({ fields: fields as Record<string, unknown>, message })
  }
  return { ...silentLogger, warn: note, error: note, child: () => recorder(lines) }
}
