/**
 * Fires the schedule triggers: durable timers of kind `schedule`, one for each.
 *
 *   timer due ─► one batch: record into the function's inbox + the timer moved to its next run ─► never twice
 *
 * A run that was missed by more than `lateMaxMs` (the daemon was down, the board slept) is skipped to the next
 * one. The clock may jump: it is looked at every `checkMaxMs` at the latest, and a timer that a clock ahead of
 * time put too far away is brought back.
 */
import { Cron } from 'croner'
import type { Clock } from '#base/clock.ts'
import type { Logger } from '#base/logger.ts'
import { originText } from '#router/message.ts'
import type { CommitLog } from '#store/commit-log.ts'
import type { Store } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'
import type { ScheduleTrigger } from './manifest.ts'

/** How late a run may be and still happen. */
export const lateMaxMs = 5_000
/** Longest time between two looks at the clock. */
export const checkMaxMs = 60_000
const kind = 'schedule'
/** Timers read at the start (D6): 64 triggers for each of some 1,500 functions. */
const timersMax = 100_000

interface Schedule {
  readonly id: string
  readonly function: string
  readonly trigger: ScheduleTrigger
  readonly cron: Cron
  readonly inbox: CommitLog
  dueAt: number
}

export class Schedules {
  readonly #store: Store
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #schedules = new Map<string, Schedule>()
  /** Timers found on disk whose function has not been set up yet. */
  readonly #stored = new Map<string, number>()
  #cancel: (() => void) | undefined
  #state: 'loading' | 'running' | 'stopped' = 'loading'

  private constructor(store: Store, clock: Clock, logger: Logger) {
    this.#store = store
    this.#clock = clock
    this.#logger = logger
  }

  static async open(store: Store, clock: Clock, logger: Logger): Promise<Schedules> {
    const schedules = new Schedules(store, clock, logger)
    for (const { id, dueAt } of await store.timersDue(kind, Number.MAX_SAFE_INTEGER, timersMax))
      schedules.#stored.set(id, dueAt)
    return schedules
  }

  /** Next run of each schedule of a function, for `status`. */
  next(functionName: string): { name: string; schedule: string; nextAt: number }[] {
    return this.#of(functionName).map(({ trigger, dueAt }) => ({
      name: trigger.name,
      schedule: trigger.schedule,
      nextAt: dueAt,
    }))
  }

  /** Replaces a function's schedules; a run already planned under the same id and expression stays. */
  stage(tx: Transaction, functionName: string, triggers: readonly ScheduleTrigger[], inbox: CommitLog): void {
    const wanted = new Map(triggers.map(trigger => [timerId(functionName, trigger), trigger]))
    for (const { id } of this.#of(functionName)) if (!wanted.has(id)) this.#remove(tx, id)
    for (const id of this.#stored.keys())
      if (id.startsWith(`${kind}:${functionName}:`) && !wanted.has(id)) this.#remove(tx, id)
    for (const [id, trigger] of wanted) this.#add(tx, id, functionName, trigger, inbox)
    this.#arm()
  }

  /** Removes a function's schedules. */
  stageRemoval(tx: Transaction, functionName: string): void {
    for (const { id } of this.#of(functionName)) this.#remove(tx, id)
    for (const id of this.#stored.keys()) if (id.startsWith(`${kind}:${functionName}:`)) this.#remove(tx, id)
    this.#arm()
  }

  /** Begins to fire. */
  begin(): void {
    if (this.#state !== 'loading') return
    this.#state = 'running'
    this.#arm()
  }

  stop(): void {
    this.#state = 'stopped'
    this.#cancel?.()
  }

  #of(functionName: string): Schedule[] {
    return [...this.#schedules.values()].filter(each => each.function === functionName)
  }

  #add(tx: Transaction, id: string, functionName: string, trigger: ScheduleTrigger, inbox: CommitLog): void {
    if (this.#schedules.has(id)) return
    const cron = new Cron(trigger.schedule, {
      mode: '5-or-6-parts',
      timezone: trigger.timeZone,
      paused: true,
    })
    const storedAt = this.#stored.get(id)
    this.#stored.delete(id)
    const schedule: Schedule = {
      id,
      function: functionName,
      trigger,
      cron,
      inbox,
      dueAt: storedAt ?? Number.NaN,
    }
    this.#schedules.set(id, schedule)
    if (storedAt === undefined) this.#plan(tx, schedule, this.#clock.now())
  }

  #remove(tx: Transaction, id: string): void {
    this.#schedules.delete(id)
    this.#stored.delete(id)
    tx.cancel(id)
  }

  /** Sets the next run after `after`, in the caller's transaction. */
  #plan(tx: Transaction, schedule: Schedule, after: number): void {
    const next = schedule.cron.nextRun(new Date(after))?.getTime()
    if (next === undefined) {
      // An expression with a year that has passed.
      this.#remove(tx, schedule.id)
      return
    }
    schedule.dueAt = next
    const payload = JSON.stringify({ function: schedule.function, schedule: schedule.trigger.name })
    tx.schedule({ id: schedule.id, dueAt: next, kind, payload })
  }

  #arm(): void {
    this.#cancel?.()
    if (this.#state !== 'running' || this.#schedules.size === 0) return
    const now = this.#clock.now()
    let waitMs = checkMaxMs
    for (const { dueAt } of this.#schedules.values()) waitMs = Math.min(waitMs, dueAt - now)
    this.#cancel = this.#clock.after(Math.max(0, waitMs), () => this.#check())
  }

  #check(): void {
    const now = this.#clock.now()
    for (const schedule of [...this.#schedules.values()]) {
      if (schedule.dueAt <= now) this.#fire(schedule, now)
      else if (schedule.dueAt > (schedule.cron.nextRun(new Date(now))?.getTime() ?? schedule.dueAt)) {
        const tx = new Transaction().require('process')
        this.#plan(tx, schedule, now)
        this.#store.commit(tx)
      }
    }
    this.#arm()
  }

  #fire(schedule: Schedule, now: number): void {
    const { trigger, inbox, dueAt } = schedule
    // Class `process`: record and timer stand in one batch, so power takes both or none.
    const tx = new Transaction().require('process')
    const lateMs = now - dueAt
    if (lateMs > lateMaxMs) {
      this.#logger.warn(
        { function: schedule.function, schedule: trigger.name, lateMs },
        'a scheduled run was missed',
      )
    } else {
      const event = {
        time: new Date(dueAt).toISOString(),
        schedule: trigger.name,
        function: schedule.function,
      }
      const payload = Buffer.from(JSON.stringify(event))
      const topic = `$schedule/${trigger.name}`
      const origin = originText({ kind: 'schedule', name: trigger.name })
      if (inbox.room(payload.length + topic.length, true) === 'wait')
        tx.lose(inbox, { from: inbox.end, to: inbox.end }, 1, 'overflow')
      else {
        const expiry = trigger.ttlMs === undefined ? {} : { expiresAt: now + trigger.ttlMs }
        tx.append(inbox, { time: now, topic, payload, qos: 1, origin, ...expiry })
      }
    }
    this.#plan(tx, schedule, now)
    this.#store.commit(tx)
  }
}

function timerId(functionName: string, { name, schedule, timeZone }: ScheduleTrigger): string {
  return `${kind}:${functionName}:${name}:${timeZone}:${schedule}`
}
