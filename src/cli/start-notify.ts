/**
 * Tells systemd how the daemon is (`Type=notify`): ready, alive, stopping.
 *
 *   READY=1 after the ready line ── WATCHDOG=1 every third of WatchdogSec, while the store answers ── STOPPING=1
 *
 * systemd listens on a datagram socket, which Node cannot write to, so each word is said by `systemd-notify` (it comes
 * with systemd). Measured on x64: 4 ms each, the event loop held for 1.5 ms of it. A helper that stays would cost 2 to 6 MB.
 * A store that does not answer, as on a card that has gone, means no word, and systemd starts the daemon again; a full disk
 * answers, and is no reason (D6: one probe and one helper at a time).
 */
import { spawn } from 'node:child_process'

type Environment = Readonly<Record<string, string | undefined>>
type Say = (words: readonly string[], when?: 'at once') => void

/** Words per `WatchdogSec`: two may be late or lost. */
const wordsPerWatchdog = 3

/** A start that reads a damaged database into a new one may take long: systemd is asked for more time as often as this. */
const startingEveryMs = 30_000
const startingMoreMs = 90_000
/** Longest start. */
const startingMaxMs = 3_600_000

export interface SystemNotifier {
  /** Asks for more time until `ready`, at most an hour; `everyMs` is a test's. */
  starting(everyMs?: number): void
  /** Says READY, and from then on WATCHDOG when systemd asks for it and `probe` resolves. */
  ready(status: string, probe: () => Promise<unknown>): void
  stopping(): void
}

/** Undefined when no systemd waits for word of this process. */
export function systemNotifier(
  env: Environment,
  pid: number,
  onProblem: (problem: string) => void,
): SystemNotifier | undefined {
  const { NOTIFY_SOCKET } = env
  if (NOTIFY_SOCKET === undefined || NOTIFY_SOCKET === '') return undefined
  const say = speaker(NOTIFY_SOCKET, onProblem)
  let timer: NodeJS.Timeout | undefined
  return {
    starting(everyMs = startingEveryMs) {
      let rest = Math.floor(startingMaxMs / everyMs)
      timer = setInterval(() => {
        if (rest-- > 0) say([`EXTEND_TIMEOUT_USEC=${startingMoreMs * 1_000}`])
      }, everyMs).unref()
    },
    ready(status, probe) {
      clearInterval(timer)
      say(['READY=1', `STATUS=${status}`])
      const everyMs = watchdogMs(env, pid) / wordsPerWatchdog
      if (everyMs > 0) timer = keepSaying(everyMs, probe, () => say(['WATCHDOG=1']))
    },
    stopping() {
      clearInterval(timer)
      say(['STOPPING=1'], 'at once')
    },
  }
}

/** WatchdogSec of the unit in milliseconds, 0 when it is off or meant for another process. */
function watchdogMs({ WATCHDOG_USEC, WATCHDOG_PID }: Environment, pid: number): number {
  if (WATCHDOG_PID !== undefined && WATCHDOG_PID !== String(pid)) return 0
  const microseconds = Number(WATCHDOG_USEC)
  return Number.isSafeInteger(microseconds) && microseconds > 0 ? microseconds / 1_000 : 0
}

function keepSaying(everyMs: number, probe: () => Promise<unknown>, say: () => void): NodeJS.Timeout {
  let waiting = false
  const ask = () => {
    if (waiting) return
    waiting = true
    probe().then(
      () => {
        waiting = false
        say()
      },
      () => {
        waiting = false
      },
    )
  }
  ask()
  return setInterval(ask, everyMs).unref()
}

/**
 * Words in order: while the helper speaks, the next wait, the newest of each kind only. What is said at once does not wait: the
 * process may be gone before the helper is.
 */
function speaker(socket: string, onProblem: (problem: string) => void): Say {
  const waiting = new Map<string, readonly string[]>()
  let speaking = false
  let reported = false
  const next = () => {
    const [first] = waiting
    if (first === undefined) return
    waiting.delete(first[0])
    speak(first[1])
  }
  const speak = (words: readonly string[]) => {
    speaking = true
    const child = spawn('systemd-notify', words, {
      stdio: 'ignore',
      env: { NOTIFY_SOCKET: socket, PATH: '/usr/bin:/bin' },
    })
    const done = (problem?: string) => {
      speaking = false
      // One that is missing is missing each time.
      if (problem !== undefined && !reported) onProblem(problem)
      reported ||= problem !== undefined
      next()
    }
    child.on('error', error => done(`systemd-notify: ${error.message}`))
    child.on('exit', code => done(code === 0 ? undefined : `systemd-notify ended with ${code}`))
    child.unref()
  }
  return (words, when) => {
    if (when === 'at once') {
      waiting.clear()
      return speak(words)
    }
    waiting.set(words[0] ?? '', words)
    if (!speaking) next()
  }
}
