/** A device behind the real API, for tests of what looks at it: fixed answers, and events that the test sends. */
import type { Backend, Buffered, FunctionInfo, Status, UplinkInfo } from '#api/backend.ts'
import type { LiveEvent } from '#base/live-event.ts'

export class FakeBackend implements Backend {
  readonly listeners = new Set<(event: LiveEvent) => void>()
  uplink: UplinkInfo = { name: 'default', state: 'connected', records: 0, bytes: 0 }
  functionList: FunctionInfo[] = []
  logs: Buffered['logs'] = []

  emit(event: LiveEvent): void {
    for (const listener of this.listeners) listener(event)
  }

  async status(): Promise<Status> {
    return {
      device: 'greenhouse-1',
      version: '0.1.0',
      node: process.versions.node,
      pid: process.pid,
      startedAt: Date.now() - 5_000,
      epoch: '0123456789ab',
      state: 'ok',
      mqtt: { host: '127.0.0.1', port: 1883, clients: 3, sessions: 1 },
      http: { host: '127.0.0.1', port: 8484 },
      functions: { total: this.functionList.length, failed: 0 },
      uplinks: [this.uplink],
      traffic: { published: 10, byClass: { memory: 0, process: 4, power: 6 } },
      store: { batches: 9, syncs: 8, bytesWritten: 4_096, lost: {} },
      memoryBytes: 70 * 2 ** 20,
    }
  }

  health() {
    return { state: 'ok' as const }
  }
  ready() {
    return []
  }
  async functions() {
    return this.functionList
  }
  async buffer() {
    return { uplinks: [this.uplink], routes: [], logs: this.logs, ledger: { entries: 0, lost: {} } }
  }
  events(listener: (event: LiveEvent) => void) {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }
  async setLink(online: boolean) {
    this.uplink = { ...this.uplink, state: online ? 'connected' : 'offline' }
  }

  logLines() {
    return []
  }
  followLogLines = () => () => {}
  config() {
    return []
  }
  reloadConfig = unused

  function = unused
  invoke = unused
  purge = unused
  deadLetters = unused
  retryDeadLetters = unused
  dropDeadLetters = unused
  devices = unused
  addDevice = unused
  revokeDevice = unused
  publish = unused
  messages = (): never => {
    throw new Error('not part of this fake')
  }
}

function unused(): Promise<never> {
  return Promise.reject(new Error('not part of this fake'))
}
