/** A backend that answers with what a test put there, and remembers what it was asked. */
import type {
  Backend,
  DeadLetterSelection,
  FunctionInfo,
  InvokeOutcome,
  LiveMessage,
  LogEntry,
  LogQuery,
  PublishInput,
  ReadyCheck,
  ReloadOutcome,
  Status,
} from '#api/backend.ts'
import { FescueError } from '#base/errors.ts'
import type { LiveEvent } from '#base/live-event.ts'
import { filterMatches } from '#base/topics.ts'

export const thermostat: FunctionInfo = {
  name: 'thermostat',
  state: 'ready',
  description: 'Turns the fan on above a threshold',
  revision: 'ab'.repeat(32),
  triggers: [{ topic: 'sensors/+/temperature' }],
  inbox: { records: 2, bytes: 200 },
  deadLetters: 1,
  invocations: { ok: 10, error: 1, timeout: 0 },
}

export class RecordingBackend implements Backend {
  readonly calls: unknown[][] = []
  readonly eventListeners = new Set<(event: LiveEvent) => void>()
  readonly messageListeners = new Map<(message: LiveMessage) => void, string>()
  outcome: InvokeOutcome = {
    kind: 'ok',
    invocationId: 'id-1',
    value: '{"on":true}',
    durationMs: 1.5,
    published: 1,
  }
  checks: ReadyCheck[] = [{ id: 'store', ok: true }]
  /** Thrown by the next calls that can fail. */
  failure: unknown
  /** What a publish waits for. */
  committed: Promise<void> = Promise.resolve()

  emit(event: LiveEvent): void {
    for (const listener of this.eventListeners) listener(event)
  }

  deliver(message: LiveMessage): void {
    for (const [listener, filter] of this.messageListeners)
      if (filterMatches(filter, message.topic)) listener(message)
  }

  async status(): Promise<Status> {
    this.#fail()
    return {
      device: 'greenhouse-1',
      version: '0.1.0',
      node: process.version,
      pid: process.pid,
      startedAt: 1,
      epoch: '0123456789ab',
      state: 'ok',
      mqtt: { host: '127.0.0.1', port: 1883, clients: 3, sessions: 1 },
      http: { host: '127.0.0.1', port: 8484 },
      functions: { total: 1, failed: 0 },
      uplinks: [],
      traffic: { published: 10, byClass: { memory: 0, process: 4, power: 6 } },
      store: { batches: 9, syncs: 8, bytesWritten: 4_096, lost: {} },
      memoryBytes: 1,
    }
  }

  health() {
    return { state: 'ok' as const }
  }
  ready() {
    return this.checks
  }
  async functions() {
    return [thermostat]
  }
  async function(name: string) {
    if (name === thermostat.name) return thermostat
    throw new FescueError('FESCUE_NOT_FOUND', `there is no function "${name}"`)
  }
  async invoke(name: string, payload: Buffer, options: { readonly topic: string }) {
    this.calls.push(['invoke', name, payload.toString(), options])
    this.#fail()
    return this.outcome
  }
  async purge(name: string) {
    this.calls.push(['purge', name])
    return { records: 2 }
  }
  async deadLetters(query: { readonly function?: string; readonly limit: number }) {
    this.calls.push(['deadLetters', query])
    return []
  }
  async retryDeadLetters(selection: DeadLetterSelection) {
    this.calls.push(['retry', selection])
    return { count: 1 }
  }
  async dropDeadLetters(selection: DeadLetterSelection) {
    this.calls.push(['drop', selection])
    return { count: 2 }
  }
  async buffer() {
    return {
      uplinks: [],
      routes: [],
      ledger: { entries: 0, lost: {} },
      logs: [{ log: 'ledger', records: 0, bytes: 0, maxBytes: 1, overflow: 'drop-oldest' }],
    }
  }
  async devices() {
    return [{ name: 'kitchen', createdAt: '2026-01-01T00:00:00.000Z' }]
  }
  async addDevice(name: string) {
    this.calls.push(['addDevice', name])
    this.#fail()
    return { name, password: 'generated' }
  }
  async revokeDevice(name: string) {
    this.calls.push(['revokeDevice', name])
  }
  async publish({ topic, payload, qos, retain }: PublishInput) {
    this.calls.push(['publish', topic, payload.toString('latin1'), qos, retain])
    this.#fail()
    await this.committed
  }
  messages(filter: string, listener: (message: LiveMessage) => void) {
    this.messageListeners.set(listener, filter)
    return () => this.messageListeners.delete(listener)
  }
  events(listener: (event: LiveEvent) => void) {
    this.eventListeners.add(listener)
    return () => this.eventListeners.delete(listener)
  }
  logEntries: LogEntry[] = []
  readonly logListeners = new Set<(entry: LogEntry) => void>()
  reloadOutcome: ReloadOutcome = { outcome: 'unchanged', changes: [] }

  logLines(query: LogQuery) {
    this.calls.push(['logLines', query])
    return this.logEntries
  }
  followLogLines(query: LogQuery, listener: (entry: LogEntry) => void) {
    this.calls.push(['followLogLines', query])
    for (const entry of this.logEntries) listener(entry)
    this.logListeners.add(listener)
    return () => this.logListeners.delete(listener)
  }
  config() {
    return [{ key: 'mqtt.port', value: 1883, origin: { kind: 'default', where: '' } as const }]
  }
  async reloadConfig() {
    this.#fail()
    return this.reloadOutcome
  }

  async setLink(online: boolean, uplink?: string) {
    this.calls.push(['setLink', online, uplink])
  }

  #fail(): void {
    if (this.failure !== undefined) throw this.failure
  }
}
