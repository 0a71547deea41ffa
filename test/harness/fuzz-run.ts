/**
 * A fuzz run: sessions of bytes by seed against a daemon, many at once, with a healthy pair beside them whose
 * messages must all pass; afterwards everything must be as it was.
 *
 *   rounds of sessions ──► violation? ──► which session alone does it? ──► leave out packets while it still does
 *        │                                                                  └─► hex, and the seed that repeats it
 *        └─ all played ──► quiet: clients, sessions, store keys and memory are back where they were
 */
import { FuzzDaemon, type FuzzDaemonOptions, type StoreContent } from './fuzz-daemon.ts'
import { forgetSession, playSession } from './fuzz-session.ts'
import { Neighbour } from './neighbour.ts'
import { connectBytes, publishBytes } from './packet-bytes.ts'
import { type FuzzSession, sessionOf } from './packet-fuzz.ts'
import type { Random } from './random.ts'

export interface FuzzRunOptions extends FuzzDaemonOptions {
  readonly random: Random
  /** How many sessions, or for how long. */
  readonly sessions?: number
  readonly minutes?: number
  /** Sessions at a time. */
  readonly atOnce?: number
  /** Tries to leave packets out of a session that breaks something (100). */
  readonly shrinkTriesMax?: number
  readonly say?: (line: string) => void
}

export interface FuzzReport {
  readonly seed: number
  readonly sessions: Readonly<Record<'served' | 'refused' | 'damaged', number>>
  readonly packets: number
  readonly bytes: number
  readonly seconds: number
  readonly neighbourMessages: number
  readonly neighbourLongestWaitMs: number
  /** Before the first session, at the end, and the most in between. */
  readonly residentMiB: { readonly before: number; readonly after: number; readonly most: number }
  readonly violations: readonly string[]
  /** The packets that break it, when one session does so alone. */
  readonly culprit?: Culprit
}

export interface Culprit {
  readonly seed: number
  readonly violation: string
  /** Bytes of each packet that is needed; of long ones the beginning. */
  readonly hex: readonly string[]
}

/** What a daemon may have grown by: caches of topics, code and tails that are bounded, and a heap that is not full. */
export const grownMaxMiB = 96
const exchangesUntilLate = 150
const warmUpSessions = 48
const shownMaxBytes = 200
const mib = 1024 * 1024

export async function fuzzRun(options: FuzzRunOptions): Promise<FuzzReport> {
  await using daemon = await FuzzDaemon.create(options)
  const { random, atOnce = 16, say = () => {} } = options
  await prepare(daemon)
  const before = await daemon.content()
  await daemon.start()
  const attack = new Attack(daemon, random, atOnce)
  await attack.rounds(warmUpSessions, undefined)
  const { mqtt } = await daemon.status().catch(() => ({ mqtt: { clients: 0, sessions: 0 } }))
  const resident = daemon.residentBytes
  const startedAt = Date.now()
  const endsAt = options.minutes === undefined ? undefined : startedAt + options.minutes * 60_000
  await attack.rounds(options.sessions ?? Number.POSITIVE_INFINITY, endsAt, say)
  const seconds = (Date.now() - startedAt) / 1000
  const violations = [...attack.violations]
  if (violations.length === 0) violations.push(...(await aftermath(daemon, before, mqtt.clients)))
  const after = attack.residentAtEnd
  if (after - resident > grownMaxMiB * mib)
    violations.push(`the daemon grew from ${Math.round(resident / mib)} to ${Math.round(after / mib)} MiB`)
  const culprit = attack.suspects.length === 0 ? undefined : await findCulprit(options, attack.suspects)
  return {
    seed: random.seed,
    sessions: attack.played,
    packets: attack.packets,
    bytes: attack.bytes,
    seconds,
    neighbourMessages: attack.neighbourMessages,
    neighbourLongestWaitMs: Math.round(attack.neighbourLongestWaitMs),
    residentMiB: {
      before: Math.round(resident / mib),
      after: Math.round(after / mib),
      most: Math.round(attack.residentMost / mib),
    },
    violations,
    ...(culprit && { culprit }),
  }
}

/** The store as it is before: with the healthy pair's sessions. */
async function prepare(daemon: FuzzDaemon): Promise<void> {
  await daemon.start()
  const neighbour = await neighbourOf(daemon)
  await neighbour.stop()
  await daemon.stop()
}

const neighbourOf = (daemon: FuzzDaemon) =>
  Neighbour.start({ port: daemon.port, publishTo: 'h/pair', listenTo: 'h/pair' })

/**
 * An answer is missing when the healthy pair has exchanged so many messages since: no clock decides, so that a busy
 * machine makes no violation.
 */
function lateOf(neighbour: Neighbour): () => boolean {
  const from = neighbour.messages
  return () => neighbour.violations.length > 0 || neighbour.messages - from >= exchangesUntilLate
}

class Attack {
  readonly #daemon: FuzzDaemon
  readonly #random: Random
  readonly #atOnce: number
  readonly played = { served: 0, refused: 0, damaged: 0 }
  readonly violations: string[] = []
  /** Sessions of the round that broke something; the one that said so first. */
  suspects: FuzzSession[] = []
  packets = 0
  bytes = 0
  neighbourMessages = 0
  neighbourLongestWaitMs = 0
  residentMost = 0
  residentAtEnd = 0

  constructor(daemon: FuzzDaemon, random: Random, atOnce: number) {
    this.#daemon = daemon
    this.#random = random
    this.#atOnce = atOnce
  }

  async rounds(sessions: number, endsAt: number | undefined, say = (_: string): void => {}): Promise<void> {
    if (this.violations.length > 0) return
    const neighbour = await neighbourOf(this.#daemon)
    let saidAt = Date.now()
    for (let played = 0; played < sessions && (endsAt ?? Number.POSITIVE_INFINITY) > Date.now(); ) {
      const round = Array.from({ length: Math.min(this.#atOnce, sessions - played) }, () =>
        sessionOf(this.#random.int(0, 2 ** 31)),
      )
      await this.#round(round, neighbour)
      played += round.length
      if (this.violations.length > 0) break
      if (Date.now() - saidAt > 30_000) {
        saidAt = Date.now()
        say(`${played} sessions, ${Math.round(this.#daemon.residentBytes / mib)} MiB, no violation`)
      }
    }
    this.neighbourMessages += neighbour.messages
    this.neighbourLongestWaitMs = Math.max(this.neighbourLongestWaitMs, neighbour.longestWaitMs)
    this.residentAtEnd = this.#daemon.residentBytes
    if (this.violations.length === 0) await neighbour.stop()
    this.violations.push(...neighbour.violations.filter(line => !this.violations.includes(line)))
  }

  async #round(round: readonly FuzzSession[], neighbour: Neighbour): Promise<void> {
    const { port } = this.#daemon
    const verdicts = await Promise.all(round.map(session => playSession(port, session, lateOf(neighbour))))
    for (const { expected, frames } of round) {
      this.played[expected.kind] += 1
      this.packets += frames.length
      this.bytes += frames.reduce((sum, frame) => sum + frame.length, 0)
    }
    this.residentMost = Math.max(this.residentMost, this.#daemon.residentBytes)
    for (const [i, verdict] of verdicts.entries())
      if (verdict !== undefined) this.violations.push(`session ${round[i]?.seed}: ${verdict}`)
    this.violations.push(...(await this.#daemon.violations()), ...neighbour.violations)
    if (this.violations.length === 0) return
    const said = round.filter((_, i) => verdicts[i] !== undefined)
    this.suspects = [...said, ...round.filter(session => !said.includes(session))]
  }
}

/** What is left when everybody has gone, and after what the sessions asked to be kept is given up. */
async function aftermath(daemon: FuzzDaemon, before: StoreContent, clients: number): Promise<string[]> {
  const violations: string[] = []
  const until = Date.now() + 30_000
  const others = async () => (await daemon.status()).mqtt.clients
  for (let left = await others(); left > clients; left = await others()) {
    if (Date.now() > until) return [`${left} clients are still there, ${clients} were`]
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  if ((await daemon.stop()) !== 0) violations.push('the daemon did not stop with exit code 0')
  const kept = await daemon.content()
  await daemon.start()
  const known = new Set(before.sessions)
  for (const id of kept.sessions) if (!known.has(id)) await forgetSession(daemon.port, id)
  await clearRetained(daemon.port, kept.retained)
  const { mqtt } = await daemon.status()
  if (mqtt.sessions !== before.sessions.length)
    violations.push(`${mqtt.sessions} sessions, ${before.sessions.length} were before`)
  await daemon.stop()
  const after = await daemon.content()
  violations.push(...differences(before.keys, after.keys))
  return violations
}

function differences(before: readonly string[], after: readonly string[]): string[] {
  const [old, now] = [new Set(before), new Set(after)]
  const show = (key: string) => JSON.stringify(key).slice(0, 120)
  return [
    ...after.filter(key => !old.has(key)).map(key => `left behind in the store: ${show(key)}`),
    ...before.filter(key => !now.has(key)).map(key => `gone from the store: ${show(key)}`),
  ].slice(0, 20)
}

async function clearRetained(port: number, topics: readonly string[]): Promise<void> {
  const frames = topics.map((topic, i) => publishBytes(topic, '', 3, i + 1))
  const asked = new Map(frames.map((frame, i) => [frame, [`puback ${i + 1}` as const]]))
  const clientId = 'fuzz-clear'
  const until = Date.now() + 60_000
  const verdict = await playSession(
    port,
    {
      seed: 0,
      clientId,
      clean: true,
      expected: { kind: 'served', asked },
      frames: [connectBytes({ clientId }), ...frames],
      cuts: [64 * 1024],
      ending: 'linger',
    },
    () => Date.now() > until,
  )
  if (verdict !== undefined) throw new Error(`retained messages could not be cleared: ${verdict}`)
}

/** One session alone, against a daemon of its own. Undefined when it does no harm. */
export async function playAlone(
  options: FuzzDaemonOptions,
  session: FuzzSession,
): Promise<string | undefined> {
  await using daemon = await FuzzDaemon.create(options)
  await daemon.start()
  const neighbour = await neighbourOf(daemon)
  // A reset could overtake what was sent: alone, the bytes shall arrive.
  const verdict = await playSession(daemon.port, { ...session, ending: 'half-close' }, lateOf(neighbour))
  const violation = (await daemon.violations())[0] ?? verdict ?? neighbour.violations[0]
  if (violation === undefined) await neighbour.stop()
  return violation ?? neighbour.violations[0]
}

/** Tries the suspects one by one, then leaves packets out of the first that does it alone. */
async function findCulprit(
  options: FuzzRunOptions,
  suspects: readonly FuzzSession[],
): Promise<Culprit | undefined> {
  for (const suspect of suspects) {
    const violation = await playAlone(options, suspect)
    if (violation === undefined) continue
    const frames = await shrunk(options, suspect)
    return { seed: suspect.seed, violation, hex: frames.map(hexOf) }
  }
  return undefined
}

function hexOf(frame: Buffer): string {
  const hex = frame.toString('hex', 0, shownMaxBytes)
  return frame.length > shownMaxBytes ? `${hex}… (${frame.length} bytes)` : hex
}

async function shrunk(options: FuzzRunOptions, session: FuzzSession): Promise<readonly Buffer[]> {
  let { frames } = session
  const { shrinkTriesMax = 100 } = options
  let tries = 0
  for (let size = Math.ceil(frames.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at < frames.length && tries < shrinkTriesMax; ) {
      const fewer = frames.toSpliced(at, size)
      tries += 1
      const breaks =
        fewer.length > 0 && (await playAlone(options, { ...session, frames: fewer })) !== undefined
      if (breaks) frames = fewer
      else at += size
    }
  }
  return frames
}
