/**
 * `dev` at work: turns the daemon's events into lines, keeps the status line, and answers the keys.
 *
 * It knows the daemon by its API alone, as every other command does.
 */
import type { Status } from '#api/backend.ts'
import { type Clock, sleep } from '#base/clock.ts'
import type { FunctionEvent, InvocationEvent, LinkEvent, LiveEvent } from '#base/live-event.ts'
import type { ApiClient } from './api-client.ts'
import { listenToKeys } from './dev-keys.ts'
import type { DevScreen } from './dev-screen.ts'
import { formatCount, formatPayload, formatTime } from './format.ts'
import { LineLimiter } from './line-limiter.ts'
import type { Terminal } from './terminal.ts'

export interface DevSessionOptions {
  readonly client: ApiClient
  readonly screen: DevScreen
  readonly terminal: Terminal
  readonly clock: Clock
  /** Asks `dev` to end. */
  readonly quit: () => void
}

const statusEveryMs = 1_000
/** Ordinary invocations of one kind: the sensors speak every two seconds, and nobody reads that fast. */
const lineLimits = { repeatMs: 5_000, linesPerSecondMax: 12 }

export class DevSession {
  readonly #options: DevSessionOptions
  readonly #limiter: LineLimiter
  #state: 'running' | 'ended' = 'running'
  #online = true
  #hot = false

  constructor(options: DevSessionOptions) {
    this.#options = options
    this.#limiter = new LineLimiter(options.clock, lineLimits)
  }

  /** Resolves when `signal` aborts; the terminal is as before then. */
  async run(signal: AbortSignal): Promise<void> {
    const { terminal, screen, quit } = this.#options
    using _keys = listenToKeys(terminal, {
      o: () => this.#do(() => this.#toggleLink()),
      p: () => this.#do(() => this.#publish()),
      x: quit,
      q: quit,
    })
    await Promise.all([this.#follow(signal), this.#watch(signal)])
    this.#state = 'ended'
    screen.status('')
  }

  async #follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        for await (const event of this.#options.client.stream<LiveEvent>('/api/v1/events', signal))
          this.#show(event)
      } catch {
        // The daemon is busy or ending; the status line says so.
      }
      await sleep(this.#options.clock, statusEveryMs, signal)
    }
  }

  async #watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#look(signal)
      await sleep(this.#options.clock, statusEveryMs, signal)
    }
  }

  #show(event: LiveEvent): void {
    const { screen } = this.#options
    if (event.type === 'invocation') this.#showInvocation(event)
    else if (event.type === 'link') screen.line(linkLine(screen, event))
    else if (event.type === 'function') this.#showFunction(event)
  }

  /** What does not build, or is gone, is a warning of the daemon's log, which is on this screen already. */
  #showFunction({ time, function: name, state }: FunctionEvent): void {
    const { screen } = this.#options
    const show = (style: 'green' | 'red', text: string) =>
      screen.line(`${timeText(screen, time)}  ${screen.style(style, text)}`)
    if (state === 'switched') show('green', `${name} is loaded`)
    else if (state === 'disabled') show('red', `${name} is disabled: fescue functions list says why`)
  }

  /** An effect on an actuator or an alarm is news each time; a reading like the one before is not. */
  #showInvocation(event: InvocationEvent): void {
    const { screen } = this.#options
    const kind = [event.function, event.topic, event.outcome, ...event.published.map(({ topic }) => topic)]
    const skipped = this.#limiter.admit(kind.join('\n'))
    if (skipped === undefined) return
    const more = skipped === 0 ? '' : screen.style('dim', `  (and ${formatCount(skipped)} like this)`)
    screen.line(invocationLine(screen, event) + more)
    if (event.outcome !== 'ok') screen.line(screen.style('red', `    ${event.error ?? event.outcome}`))
  }

  /** Runs what a key asked for; a failure is a line, not an end. Neither step can reject. */
  #do(action: () => Promise<string>): void {
    const { screen } = this.#options
    void action()
      .then(
        text => screen.line(screen.style('bold', text)),
        (error: Error) => screen.line(screen.style('red', error.message)),
      )
      .then(() => this.#look())
  }

  async #toggleLink(): Promise<string> {
    const online = !this.#online
    await this.#options.client.call('/api/v1/link', { method: 'POST', body: { online } })
    this.#online = online
    return online
      ? '── The link to the cloud is restored: what waited is on its way.'
      : '── The link to the cloud is cut: what is for it waits on disk. Press o to restore it.'
  }

  /** A hot reading, then a cool one, so that each press changes something. */
  async #publish(): Promise<string> {
    this.#hot = !this.#hot
    const body = {
      topic: 'sensors/kitchen/temperature',
      payload: JSON.stringify({ celsius: this.#hot ? 31 : 19 }),
      qos: 1,
    }
    await this.#options.client.call('/api/v1/publish', { method: 'POST', body })
    return `── Published ${body.topic} ${body.payload}`
  }

  /** Brings the status line up to date. */
  async #look(signal?: AbortSignal): Promise<void> {
    const { client, screen } = this.#options
    if (!screen.interactive) return
    const keys = `[o] ${this.#online ? 'cut' : 'restore'} the link  [p] publish  [x] exit`
    const status = await client
      .call<Status>('/api/v1/status', signal === undefined ? {} : { signal })
      .catch(() => undefined)
    if (this.#state === 'running')
      screen.status(status === undefined ? keys : `${keys}   ${cloudText(status)}`)
  }
}

/** One line: what came, which function took it, and the first of what it published. */
function invocationLine(screen: DevScreen, event: InvocationEvent): string {
  const ok = event.outcome === 'ok'
  const dead = event.outcome === 'dead' ? ', a dead letter now' : ''
  const attempt = event.attempt > 1 ? ` (attempt ${event.attempt}${dead})` : ''
  const name = `${event.function} ${ok ? '✔' : '✖'} ${event.durationMs.toFixed(1)} ms${attempt}`
  const [first] = event.published
  const effect = first === undefined ? '' : ` → ${messageText(screen, first)}`
  const more =
    event.published.length > 1 ? screen.style('dim', ` and ${event.published.length - 1} more`) : ''
  const cause = event.topic.startsWith('$schedule/') ? 'schedule' : messageText(screen, event)
  return `${timeText(screen, event.time)}  ${cause} → ${screen.style(ok ? 'green' : 'red', name)}${effect}${more}`
}

function messageText(
  screen: DevScreen,
  { topic, payload = '' }: { topic: string; payload?: string },
): string {
  return `${formatPayload(topic, 60)} ${screen.style('dim', formatPayload(payload, 48))}`
}

function linkLine(screen: DevScreen, { time, uplink, state, reason }: LinkEvent): string {
  const why = reason === undefined ? '' : `: ${formatPayload(reason, 100)}`
  const text = `cloud ${uplink === 'default' ? '' : `${uplink} `}${state}${why}`
  return `${timeText(screen, time)}  ${screen.style(state === 'connected' ? 'green' : 'yellow', text)}`
}

function timeText(screen: DevScreen, time: number): string {
  return screen.style('dim', formatTime(time).slice(0, 8))
}

/** What the status line says of the cloud: its state and what waits for it. */
function cloudText({ uplinks }: Status): string {
  return uplinks
    .map(
      ({ name, state, records }) =>
        `cloud${name === 'default' ? '' : ` ${name}`} ${state}, ${formatCount(records)} waiting`,
    )
    .join('   ')
}
