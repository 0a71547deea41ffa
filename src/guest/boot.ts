/**
 * Sets an empty context up and returns the host's entries into it. The executor runs this before the function's code.
 *
 *   executor ── boot(spec, memory, host) ──► entries: load, run, next, drained, answer, wake
 *   context  ── host(name, …) ──► sync calls: flush, random, url, source; never shown to the function
 *
 * Nothing of isolated-vm is reachable from the function's code: `host` and the memory stay in closures and private
 * fields, and what crosses is text, numbers and bytes (D5).
 */
import { Chunk, TopicTexts } from './chunk.ts'
import { errorDocument } from './error-document.ts'
import { installConsole, LogCredit } from './guest-console.ts'
import { GuestPublish } from './guest-publish.ts'
import { GuestState } from './guest-state.ts'
import { GuestTimers, installTimers } from './guest-timers.ts'
import type { UrlParts } from './guest-url.ts'
import { jsonParse, jsonStringify, NativeError, objectDefineProperty, reflectApply } from './natives.ts'
import { Output } from './output.ts'
import { installRandomness, Randomness } from './randomness.ts'
import { installClock, RecordedClock } from './recorded-clock.ts'
import { wakeByte, wordCalls } from './region.ts'
import { type Handler, Trampoline } from './trampoline.ts'
import { installProcess, installWebGlobals } from './web-globals.ts'

/** What the executor tells of the function, as JSON. */
export interface GuestSpec {
  readonly name: string
  readonly version: string
  readonly handler: string
  readonly timeoutMs: number
  readonly memoryMiB: number
  readonly environment: Readonly<Record<string, string>>
  readonly payload: 'json' | 'binary'
  readonly publish: readonly string[]
  readonly allow: readonly string[]
  /** Other lanes of the function run beside this one. */
  readonly sideBySide: boolean
}

/** Sync call of the executor: takes and gives text, numbers and bytes; gives undefined when it cannot. */
export type HostCall = (name: string, a?: unknown, b?: unknown, c?: unknown, d?: unknown) => unknown

type ModuleFactory = (
  exports: object,
  require: (name: string) => unknown,
  module: { exports: unknown },
  file: string,
  folder: string,
) => void

export interface GuestEntries {
  /** Runs the module; JSON text of an error document, or undefined. */
  load(factory: ModuleFactory): string | undefined
  run(text: string, numbers: ArrayBuffer, raw: ArrayBuffer, first: number, stale: string): void
  next(): void
  drained(): void
  answer(call: number, found: boolean, text: string): void
  wake(): void
}

/** Globals that are there only when the manifest asks (D8 and what memory limits do not cover). */
const askedFor: Readonly<Record<string, readonly string[]>> = {
  wasm: ['WebAssembly'],
  sharedMemory: ['SharedArrayBuffer', 'Atomics'],
  weakRefs: ['WeakRef', 'FinalizationRegistry'],
}

function removeGlobals(allow: readonly string[]): void {
  for (const [name, globals] of Object.entries(askedFor))
    if (!allow.includes(name))
      for (const each of globals) delete (globalThis as Record<string, unknown>)[each]
}

function contextSpec(spec: GuestSpec) {
  return {
    name: spec.name,
    version: spec.version,
    memoryLimit: `${spec.memoryMiB}`,
    arn: `arn:fescue:lambda:local:device:function:${spec.name}`,
    logGroup: `/fescue/${spec.name}`,
    timeoutMs: spec.timeoutMs,
  }
}

/** Variables that AWS Lambda sets and its libraries read. */
function lambdaEnvironment(spec: GuestSpec): Record<string, string> {
  return {
    AWS_LAMBDA_FUNCTION_NAME: spec.name,
    AWS_LAMBDA_FUNCTION_VERSION: spec.version,
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE: `${spec.memoryMiB}`,
    AWS_LAMBDA_LOG_GROUP_NAME: `/fescue/${spec.name}`,
    AWS_LAMBDA_LOG_STREAM_NAME: spec.version,
    _HANDLER: spec.handler,
    ...spec.environment,
  }
}

/** Names of the exports to go through: `index.handler`, or `index.a.b` for an export within an export. */
function handlerPath(handler: string): readonly string[] {
  return handler.slice(handler.indexOf('.') + 1).split('.')
}

function findHandler(exports: unknown, path: readonly string[]): Handler | undefined {
  let found: unknown = exports
  for (let i = 0; i < path.length; i++)
    found =
      found === null || found === undefined ? undefined : (found as Record<string, unknown>)[path[i] ?? '']
  return typeof found === 'function' ? (found as Handler) : undefined
}

/** An error that carries a name or a code. */
function markedError(message: string, mark: 'name' | 'code', value: string): Error {
  const error = new NativeError(message)
  objectDefineProperty(error, mark, { value, writable: true, configurable: true })
  return error
}

/** Runs the module: from here on the function's code may have replaced any built-in. */
function loadModule(spec: GuestSpec, factory: ModuleFactory, fescue: object): Handler {
  const path = handlerPath(spec.handler)
  const [file, folder] = [`/${spec.name}/index.js`, `/${spec.name}`]
  const require = (name: string): unknown => {
    if (name === 'fescue') return fescue
    const message = `Cannot find module '${name}': inside a function there is only 'fescue'; what comes from npm is bundled`
    throw markedError(message, 'code', 'MODULE_NOT_FOUND')
  }
  const module = { exports: {} }
  reflectApply(factory, module.exports, [module.exports, require, module, file, folder])
  const handler = findHandler(module.exports, path)
  if (handler === undefined)
    throw markedError(`${spec.handler} is undefined or not exported`, 'name', 'Runtime.HandlerNotFound')
  return handler
}

/** JSON of an error at load; a missing module has Lambda's name for it. */
function loadError(error: unknown): string {
  const { errorType, errorMessage, trace, traceLines } = errorDocument(error)
  const missing =
    typeof error === 'object' && error !== null && (error as { code?: unknown }).code === 'MODULE_NOT_FOUND'
  let lines = ''
  for (let i = 0; i < traceLines; i++) lines += `${i === 0 ? '' : ','}${jsonStringify(trace[i])}`
  const type = jsonStringify(missing ? 'Runtime.ImportModuleError' : errorType)
  return `{"errorType":${type},"errorMessage":${jsonStringify(errorMessage)},"trace":[${lines}]}`
}

/** The trampoline of an empty context with what it works with. */
function makeTrampoline(spec: GuestSpec, memory: SharedArrayBuffer, host: HostCall): Trampoline {
  const output = new Output(memory, (written, field) => void host('flush', written, field))
  const clock = new RecordedClock()
  const log = new LogCredit((level, text) => {
    output.u8(3)
    output.u32(trampoline.logIndex)
    output.u8(level)
    output.text(text)
    output.commit()
  })
  const trampoline: Trampoline = new Trampoline({
    spec: contextSpec(spec),
    binary: spec.payload === 'binary',
    memory,
    output,
    clock,
    randomness: new Randomness((id, block) => host('random', id, block) as ArrayBuffer),
    timers: new GuestTimers(clock, new Float64Array(memory, wakeByte, 1)),
    log,
    topics: new TopicTexts(),
  })
  return trampoline
}

function makeState(trampoline: Trampoline, memory: SharedArrayBuffer, sideBySide: boolean): GuestState {
  const words = new Int32Array(memory, 0, 8)
  const { output } = trampoline.parts
  const host = {
    current: () => trampoline.current(),
    writeRead(index: number, call: number, key: string) {
      output.u8(4)
      output.u32(index)
      output.u32(call)
      output.text(key)
      output.commit()
    },
    waiting(calls: number) {
      words[wordCalls] = calls
    },
  }
  return new GuestState(host, sideBySide)
}

/** What `require('fescue')` answers. */
function fescueModule(trampoline: Trampoline, state: GuestState, filters: readonly string[]): object {
  const publisher = new GuestPublish(() => trampoline.current(), filters)
  return {
    publish: (topic: unknown, payload: unknown, options: unknown) =>
      publisher.publish(topic, payload, options),
    state: {
      get: (key: unknown) => state.get(key),
      set: (key: unknown, value: unknown) => state.set(key, value),
      delete: (key: unknown) => state.delete(key),
    },
  }
}

function installGlobals(spec: GuestSpec, trampoline: Trampoline, host: HostCall): void {
  const { clock, randomness, timers, log } = trampoline.parts
  const run = globalThis.Function
  installClock(clock)
  installRandomness(randomness)
  installTimers(timers)
  installConsole(log, () => clock.now)
  installWebGlobals(
    (href, base, part, value) => {
      const parts = host('url', href, base, part, value)
      return typeof parts === 'string' ? (jsonParse(parts) as UrlParts) : undefined
    },
    () => run(`return ${host('source', 'buffer') as string}`)(),
  )
  installProcess(lambdaEnvironment(spec), clock, code => trampoline.exit(code))
  removeGlobals(spec.allow)
}

export function boot(specText: string, memory: SharedArrayBuffer, host: HostCall): GuestEntries {
  const spec = jsonParse(specText) as GuestSpec
  const trampoline = makeTrampoline(spec, memory, host)
  const state = makeState(trampoline, memory, spec.sideBySide)
  const fescue = fescueModule(trampoline, state, spec.publish)
  installGlobals(spec, trampoline, host)
  return {
    load(factory) {
      try {
        trampoline.start(state, loadModule(spec, factory, fescue))
        return undefined
      } catch (error) {
        return loadError(error)
      } finally {
        trampoline.parts.timers.clearAll()
      }
    },
    run(text, numbers, raw, first, stale) {
      if (stale !== '') state.forget(jsonParse(stale))
      trampoline.run(new Chunk(text, numbers, raw, first))
    },
    next: () => trampoline.next(),
    drained: () => trampoline.drained(),
    answer: (call, found, text) => trampoline.answer(call, found ? text : undefined),
    wake: () => trampoline.wake(),
  }
}
