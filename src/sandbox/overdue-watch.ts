/**
 * Whether a run that is past its grace was given the time to end by itself; only then is its executor killed, and the
 * function charged.
 *
 *   first look past the grace ──► noted ──► the executor had the processor for `ownTimeMs` ──► over
 *                                   └─────► `starvedMaxMs` went by ────────────────────────────► over
 *
 * Not at the first look: if the daemon was held up, the answer is being read now. And not before the executor had the
 * processor: on a busy box its own watch comes late, and the function would be charged (three times, and it is
 * disabled) with what its neighbours on the machine do.
 */
import { readFileSync } from 'node:fs'

/** CPU time of an executor beyond the grace after which it had its chance. */
const ownTimeMs = 40
/** Longest that is waited for it: what blocks without computing ends here. */
const starvedMaxMs = 3_000
/** Linux counts in ticks of 10 ms towards programs, whatever the kernel's own timer does (time(7), USER_HZ). */
const tickMs = 10

interface Overdue {
  readonly run: object
  readonly since: number
  readonly cpuMs: number | undefined
}

export class OverdueWatch {
  #overdue: Overdue | undefined

  /** Looks at the run that is past its grace, or at none. `cpuMs` reads the executor's CPU time. */
  isOver(run: object | undefined, now: number, cpuMs: () => number | undefined): boolean {
    if (run === undefined) {
      this.#overdue = undefined
      return false
    }
    const used = cpuMs()
    const overdue = this.#overdue
    if (overdue?.run !== run) {
      this.#overdue = { run, since: now, cpuMs: used }
      return false
    }
    if (used === undefined || overdue.cpuMs === undefined) return true
    return used - overdue.cpuMs >= ownTimeMs || now - overdue.since >= starvedMaxMs
  }
}

/** User and system milliseconds of all threads of a process since its start; undefined when it is gone (proc_pid_stat(5)). */
export function readCpuMs(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The name in parentheses may hold anything; fields count from behind it.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) * tickMs
  } catch {
    return undefined
  }
}
