/** A store, a router and an invoker with a fake sandbox and a folder of functions: the workbench of its tests. */
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Clock, systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import { noMetrics } from '#base/metrics.ts'
import { type Invoker, type InvokerOptions, startInvoker } from '#invoker/invoker.ts'
import type { Message } from '#router/message.ts'
import { Retained } from '#router/retained.ts'
import { Router } from '#router/router.ts'
import type { Sandbox } from '#sandbox/sandbox.ts'
import { openStore } from '#store/open.ts'
import type { LogRecord } from '#store/record.ts'
import type { Store } from '#store/store.ts'
import { FakeSandbox } from './fake-sandbox.ts'

export interface BenchOptions {
  /** Temporary folder of the test. */
  readonly path: string
  /** Whether the store is in memory (default) or in the folder. */
  readonly disk?: boolean
  readonly clock?: Clock
  readonly sandbox?: FakeSandbox
  /** Another sandbox than a fake one. */
  readonly engine?: Sandbox
  readonly invoker?: Partial<InvokerOptions>
}

export class InvokerBench implements AsyncDisposable {
  readonly store: Store
  readonly router: Router
  readonly sandbox: FakeSandbox
  readonly invoker: Invoker
  readonly delivered: Message[] = []
  readonly #waiting = new Set<() => void>()
  /** The invoker's timers keep no process alive. */
  readonly #alive = setInterval(() => {}, 60_000)

  constructor(store: Store, router: Router, sandbox: FakeSandbox, invoker: Invoker) {
    this.store = store
    this.router = router
    this.sandbox = sandbox
    this.invoker = invoker
  }

  static async open({
    path,
    disk = false,
    clock = systemClock,
    sandbox = new FakeSandbox(),
    engine = sandbox,
    invoker = {},
  }: BenchOptions) {
    await mkdir(functionsOf(path), { recursive: true })
    const folder = disk ? join(path, 'data') : undefined
    const store = await openStore({ folder, clock, logger: silentLogger, freeDiskMinBytes: 0 })
    const router = new Router({
      store,
      retained: await Retained.open(store),
      clock,
      durability: [],
      blockMs: 10_000,
    })
    let bench: InvokerBench | undefined
    const early: Message[] = []
    router.onDeliver(message => (bench === undefined ? early.push(message) : bench.#notice(message)))
    const started = await startInvoker({
      store,
      router,
      sandbox: engine,
      clock,
      logger: silentLogger,
      metrics: noMetrics,
      functionsFolder: functionsOf(path),
      cacheFolder: join(path, 'bundles'),
      deviceSecret: 'secret',
      watch: false,
      random: () => 0.5,
      ...invoker,
    })
    void started.run(new AbortController().signal)
    bench = new InvokerBench(store, router, sandbox, started)
    bench.delivered.push(...early)
    return bench
  }

  publish(topic: string, payload: string, more: Partial<Message> = {}): Promise<void> {
    return this.router.publish({
      topic,
      payload: Buffer.from(payload),
      qos: 1,
      retain: false,
      time: Date.now(),
      origin: { kind: 'mqtt', client: 'test' },
      hops: 0,
      ...more,
    })
  }

  /** Resolves once the condition holds; looked at after each delivery, event and commit of the invoker. */
  async until(condition: () => boolean): Promise<void> {
    if (condition()) return
    await new Promise<void>(resolve => {
      const look = (): void => {
        if (!condition()) return
        forget()
        this.#waiting.delete(look)
        resolve()
      }
      const forget = this.invoker.observers.onInvocation(() => setImmediate(look))
      this.#waiting.add(look)
      this.#poll(look)
    })
  }

  /** Resolves once all inboxes are empty and everything is committed. */
  async quiet(): Promise<void> {
    const idle = () => this.invoker.functions().every(({ inbox }) => inbox.records === 0)
    do {
      await this.until(idle)
      await this.store.sync()
    } while (!idle())
  }

  /** All records of a log. */
  async records(name: string): Promise<readonly LogRecord[]> {
    const log = this.store.findLog(name)
    if (log === undefined) return []
    const found: LogRecord[] = []
    for (let from = log.head; from < log.end; ) {
      const result = await log.read(from, { maxRecords: 1_000, maxBytes: 10_000_000 })
      found.push(...result.records)
      from = result.next
    }
    return found
  }

  async state(name: string, key: string): Promise<unknown> {
    const value = await this.store.get('state', `${name}/${key}`)
    return value === undefined ? undefined : JSON.parse(value.toString())
  }

  row(name: string) {
    return this.invoker.functions().find(row => row.name === name)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#alive)
    await this.invoker[Symbol.asyncDispose]()
    await this.sandbox[Symbol.asyncDispose]()
    await this.store[Symbol.asyncDispose]()
  }

  /** Commits have no event of their own here: a look per turn while something is awaited. */
  #poll(look: () => void): void {
    setTimeout(() => {
      if (!this.#waiting.has(look)) return
      look()
      this.#poll(look)
    }, 2)
  }

  #notice(message: Message): void {
    this.delivered.push(message)
    for (const look of [...this.#waiting]) look()
  }
}

export function functionsOf(path: string): string {
  return join(path, 'functions')
}

/** Writes a function's folder: the manifest and a handler that names it (the fake runs its own). */
export async function writeFunction(
  path: string,
  name: string,
  manifest: string,
  code = `export const handler = () => '${name}'\n`,
): Promise<void> {
  const folder = join(functionsOf(path), name)
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'index.ts'), code)
  await writeFile(join(folder, 'function.yaml'), manifest)
}

export function removeFunctionFolder(path: string, name: string): Promise<void> {
  return rm(join(functionsOf(path), name), { recursive: true })
}
