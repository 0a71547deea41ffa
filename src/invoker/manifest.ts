/**
 * `function.yaml`: read, checked, and turned into a `Manifest` in which nothing is optional by accident.
 *
 *   text ─► base/yaml-document (syntax, places) ─► manifest-schema ─► checks that no schema can express ─► Manifest
 *
 * Every problem carries file, line and column, the key, and the nearest valid name; they are reported
 * together, in one FESCUE_MANIFEST_INVALID.
 */
import { Cron } from 'croner'
import type { FromSchema } from 'json-schema-to-ts'
import { FescueError } from '#base/errors.ts'
import { parseBytes, parseDuration } from '#base/quantity.ts'
import { checkDocument, compileSchema } from '#base/schema.ts'
import { problemOfFilter } from '#base/topics.ts'
import {
  type KeyPath,
  type Problem,
  parseDocument,
  pathText,
  problemsText,
  type SourceDocument,
} from '#base/yaml-document.ts'
import type { Qos } from '#store/record.ts'
import { manifestSchema } from './manifest-schema.ts'

/** What an author may write. */
export type ManifestSource = FromSchema<typeof manifestSchema>
type TriggerSource = NonNullable<ManifestSource['triggers']>[number]

export interface TopicTrigger {
  readonly kind: 'topic'
  readonly topic: string
  readonly qos: Qos
  readonly retained: boolean
  readonly ttlMs: number | undefined
}

export interface ScheduleTrigger {
  readonly kind: 'schedule'
  /** Unique within the function. */
  readonly name: string
  readonly schedule: string
  readonly timeZone: string
  readonly ttlMs: number | undefined
}

export interface Manifest {
  readonly description: string
  readonly handler: string
  readonly topics: readonly TopicTrigger[]
  readonly schedules: readonly ScheduleTrigger[]
  readonly publish: readonly string[]
  readonly publishPerSecond: number
  readonly environment: Readonly<Record<string, string>>
  readonly timeoutMs: number
  readonly memoryMiB: number
  readonly concurrency: number
  readonly orderBy: 'topic' | 'none'
  readonly retry: { readonly attempts: number; readonly backoffMs: number }
  readonly idleMs: number
  readonly payload: 'json' | 'binary'
  readonly isolation: 'shared' | 'process'
  readonly timeZone: string
  readonly allow: readonly string[]
}

/** Characters of all names and values of `environment` together. */
export const environmentMaxChars = 4_096

/**
 * Reads the manifest of function `name` from the text of `file` (a name for messages).
 * Errors: FESCUE_MANIFEST_INVALID with every problem on a line of its own.
 */
export type ReadManifest = (name: string, text: string, file: string) => Manifest

/** Compiles the schema once and gives the reader. */
export async function manifestReader(): Promise<ReadManifest> {
  const check = await compileSchema(manifestSchema)
  return (name, text, file) => {
    const document = parseDocument(file, text)
    refuse(checkDocument(document, check))
    const rest = new Check(document)
    const manifest = normalise(name, document.value as ManifestSource, rest)
    refuse(rest.problems)
    return manifest
  }
}

function refuse(problems: readonly Problem[]): void {
  if (problems.length > 0) throw new FescueError('FESCUE_MANIFEST_INVALID', problemsText(problems))
}

/** Collects problems that the schema cannot express, each at its key. */
class Check {
  readonly problems: Problem[] = []
  readonly #document: SourceDocument

  constructor(document: SourceDocument) {
    this.#document = document
  }

  bad(path: KeyPath, message: string): void {
    const where = this.#document.whereOf(path, 'value')
    const key = path.length === 0 ? '' : `${pathText(path)} `
    this.problems.push({ where, path, message: key + message })
  }

  duration(path: KeyPath, value: string | number | undefined, [low, high, preset]: Range): number {
    return this.#within(path, value === undefined ? preset : parseDuration(value), low, high, 'ms')
  }

  ttl(path: KeyPath, value: string | number | undefined): number | undefined {
    return value === undefined ? undefined : this.duration(path, value, [1, ttlMaxMs, ttlMaxMs])
  }

  size(path: KeyPath, value: string | number | undefined, [low, high, preset]: Range): number {
    return this.#within(path, value === undefined ? preset : parseBytes(value), low, high, 'bytes')
  }

  timeZone(path: KeyPath, zone: string): string {
    // The preset needs no look: the first one maps 5 MB of time zones and calendars into memory.
    if (zone === 'UTC') return zone
    try {
      new Intl.DateTimeFormat('en', { timeZone: zone })
    } catch {
      this.bad(path, `"${zone}" is no IANA time zone, for example Europe/Berlin`)
    }
    return zone
  }

  filter(path: KeyPath, filter: string): string {
    const problem = problemOfFilter(filter)
    if (problem !== undefined) this.bad(path, `"${filter}" ${problem}`)
    else if (filter.startsWith('$share/'))
      this.bad(path, 'is a shared subscription: those are not for functions')
    return filter
  }

  #within(path: KeyPath, value: number | undefined, low: number, high: number, unit: string): number {
    if (value !== undefined && value >= low && value <= high) return value
    this.bad(path, `must be from ${low} to ${high} ${unit}`)
    return low
  }
}

type Range = readonly [low: number, high: number, preset: number]
const minuteMs = 60_000
const ttlMaxMs = 365 * 24 * 60 * minuteMs
const mib = 2 ** 20

function normalise(name: string, source: ManifestSource, check: Check): Manifest {
  const timeZone = check.timeZone(['timezone'], source.timezone ?? 'UTC')
  const { topics, schedules } = triggers(name, source.triggers ?? [], timeZone, check)
  const publish = source.permissions?.publish ?? []
  for (const [i, filter] of publish.entries()) check.filter(['permissions', 'publish', i], filter)
  const memory = check.size(['memory'], source.memory, [8 * mib, 1_024 * mib, 32 * mib])
  if (source.orderBy !== undefined && (source.concurrency ?? 1) === 1)
    check.bad(['orderBy'], 'has no meaning with concurrency 1: the function runs in order anyway')
  return {
    description: source.description ?? '',
    handler: source.handler ?? 'index.handler',
    topics,
    schedules,
    publish,
    publishPerSecond: source.permissions?.publishPerSecond ?? 100_000,
    environment: environment(source.environment ?? {}, check),
    timeoutMs: check.duration(['timeout'], source.timeout, [1, 15 * minuteMs, 3_000]),
    memoryMiB: Math.round(memory / mib),
    concurrency: source.concurrency ?? 1,
    orderBy: source.orderBy ?? 'none',
    retry: {
      attempts: source.retry?.attempts ?? 3,
      backoffMs: check.duration(['retry', 'backoff'], source.retry?.backoff, [0, 60 * minuteMs, 1_000]),
    },
    idleMs: check.duration(['idle'], source.idle, [1_000, 24 * 60 * minuteMs, minuteMs]),
    payload: source.payload ?? 'json',
    isolation: source.isolation ?? 'shared',
    timeZone,
    allow: source.allow ?? [],
  }
}

function environment(
  source: NonNullable<ManifestSource['environment']>,
  check: Check,
): Record<string, string> {
  const entries = Object.entries(source).map(([key, value]): [string, string] => [key, String(value)])
  for (const [key] of entries)
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(key))
      check.bad(['environment', key], 'is no name of a variable: use letters, digits and _')
  const chars = entries.reduce((sum, [key, value]) => sum + key.length + value.length, 0)
  if (chars > environmentMaxChars)
    check.bad(['environment'], `has ${chars} characters, at most ${environmentMaxChars} are allowed`)
  return Object.fromEntries(entries)
}

function triggers(
  name: string,
  sources: readonly TriggerSource[],
  timeZone: string,
  check: Check,
): { topics: TopicTrigger[]; schedules: ScheduleTrigger[] } {
  const topics: TopicTrigger[] = []
  const schedules: ScheduleTrigger[] = []
  for (const [i, source] of sources.entries()) {
    const at = ['triggers', i] as const
    const ttlMs = check.ttl([...at, 'ttl'], source.ttl)
    if ((source.topic === undefined) === (source.schedule === undefined)) {
      check.bad(at, 'must have either "topic" or "schedule"')
    } else if (source.topic !== undefined) {
      for (const key of ['timezone', 'name'] as const)
        if (source[key] !== undefined) check.bad([...at, key], 'belongs to a schedule, not to a topic')
      const topic = check.filter([...at, 'topic'], source.topic)
      if (topics.some(other => other.topic === topic))
        check.bad([...at, 'topic'], `"${topic}" is there twice`)
      topics.push({ kind: 'topic', topic, qos: source.qos ?? 2, retained: source.retained ?? true, ttlMs })
    } else if (source.schedule !== undefined) {
      const zone = check.timeZone([...at, 'timezone'], source.timezone ?? timeZone)
      const schedule = {
        kind: 'schedule',
        name: source.name ?? name,
        schedule: source.schedule,
        timeZone: zone,
        ttlMs,
      } as const
      checkSchedule(at, schedule, source, check)
      if (schedules.some(other => other.name === schedule.name))
        check.bad(at, `two schedules are called "${schedule.name}": give each a name`)
      schedules.push(schedule)
    }
  }
  return { topics, schedules }
}

function checkSchedule(at: KeyPath, trigger: ScheduleTrigger, source: TriggerSource, check: Check): void {
  for (const key of ['qos', 'retained'] as const)
    if (source[key] !== undefined) check.bad([...at, key], 'belongs to a topic, not to a schedule')
  const problem = problemOfSchedule(trigger)
  if (problem !== undefined) check.bad([...at, 'schedule'], problem)
}

/** What is wrong with a cron expression, or undefined. */
function problemOfSchedule({ schedule, timeZone }: ScheduleTrigger): string | undefined {
  try {
    const next = new Cron(schedule, { mode: '5-or-6-parts', timezone: timeZone, paused: true }).nextRun()
    return next === null ? `"${schedule}" never comes` : undefined
  } catch (error) {
    const why = error instanceof Error ? error.message.replace(/^CronPattern: /, '') : String(error)
    return `"${schedule}" is no cron expression "second minute hour day month weekday": ${why}`
  }
}
