/** The daemon that a fuzz run attacks: one process on a folder of its own, and what its store holds when it is stopped. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import { decodeSession, sessionSpace } from '#broker/session-documents.ts'
import type { Backend } from '#store/backend.ts'
import { openStore } from '#store/open.ts'
import { type RunningProcess, residentBytes, startFescue } from './processes.ts'

const sink = `exports.handler = async event => { if (event === 'throw') throw new Error('asked to') }`

export interface FuzzDaemonOptions {
  /** Node arguments and environment of a canary build. */
  readonly nodeArgs?: readonly string[]
  readonly environment?: NodeJS.ProcessEnv
  readonly config?: string
}

interface DaemonStatus {
  readonly state: string
  readonly mqtt: { readonly clients: number; readonly sessions: number }
}

export interface StoreContent {
  readonly sessions: readonly string[]
  readonly retained: readonly string[]
  /** Keys of documents, logs, timers and what is put aside. */
  readonly keys: readonly string[]
}

export class FuzzDaemon implements AsyncDisposable {
  readonly #folder: string
  readonly #options: FuzzDaemonOptions
  #process: RunningProcess | undefined
  #gone = false

  private constructor(folder: string, options: FuzzDaemonOptions) {
    this.#folder = folder
    this.#options = options
  }

  static async create(options: FuzzDaemonOptions = {}): Promise<FuzzDaemon> {
    const folder = await mkdtemp(join(tmpdir(), 'fescue-fuzz-'))
    const listen = '{ host: 127.0.0.1, port: 0 }'
    const config = `device: fuzz\nmqtt: ${listen}\nhttp: ${listen}\n${options.config ?? ''}`
    await writeFile(join(folder, 'fescue.yaml'), config)
    await mkdir(join(folder, 'functions/sink'), { recursive: true })
    await writeFile(join(folder, 'functions/sink/function.yaml'), 'triggers:\n  - topic: f/#\n')
    await writeFile(join(folder, 'functions/sink/index.js'), sink)
    return new FuzzDaemon(folder, options)
  }

  async start(): Promise<void> {
    const at = (name: string) => join(this.#folder, name)
    const args = ['--config', at('fescue.yaml'), '--data', at('data'), '--functions', at('functions')]
    const { nodeArgs = [], environment = {} } = this.#options
    this.#process = await startFescue(['start', ...args], nodeArgs, environment)
    this.#gone = false
    void this.#process.exited.then(() => {
      this.#gone = true
    })
  }

  get port(): number {
    return this.#process?.ready.mqtt ?? 1
  }

  get residentBytes(): number {
    return residentBytes(this.#process?.pid ?? -1) ?? 0
  }

  /** What must not be: the process ended, or it logged a defect of its own. Asks it, so that an end is known. */
  async violations(): Promise<string[]> {
    await this.status().catch(() => this.#process?.exited)
    const output = this.#process?.output ?? []
    const defects = output.filter(line =>
      /"level":"(error|fatal)"|FESCUE_INTERNAL|nhandled|uncaught/.test(line),
    )
    return this.#gone ? [`the daemon ended: ${output.slice(-5).join('\n')}`] : defects.slice(0, 3)
  }

  async status(): Promise<DaemonStatus> {
    const token = (await readFile(join(this.#folder, 'data/token'), 'utf8')).trim()
    const headers = { authorization: `Bearer ${token}` }
    const response = await fetch(`http://127.0.0.1:${this.#process?.ready.http}/api/v1/status`, { headers })
    return (await response.json()) as DaemonStatus
  }

  /** SIGTERM; the exit code. */
  async stop(): Promise<number | null> {
    return (await this.#process?.stop()) ?? null
  }

  /** Of a stopped daemon. */
  async content(): Promise<StoreContent> {
    let backend: Backend | undefined
    const wrapBackend = (inner: Backend) => (backend = inner)
    const folder = join(this.#folder, 'data/store')
    await using store = await openStore({ folder, clock: systemClock, logger: silentLogger, wrapBackend })
    const sessions: string[] = []
    for await (const { value } of store.list(sessionSpace)) sessions.push(decodeSession(value).clientId)
    const retained: string[] = []
    for await (const { key } of store.list('retained')) retained.push(key)
    const limit = 1_000_000
    const keys = (await backend?.keys({ gte: Buffer.of(0), lt: Buffer.of(0xff), limit })) ?? []
    return { sessions, retained, keys: keys.map(String).filter(key => /^[DGLQT]/.test(key)) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#gone) await this.#process?.kill()
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 5 })
  }
}
