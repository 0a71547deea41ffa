/**
 * A scenario: one situation that a peer is put into, and the figures that come of it. It knows nothing of
 * rounds, of other peers or of tables; `rounds.ts` repeats it and `table.ts` shows it.
 */
import type { Random } from '../test/harness/random.ts'
import type { Peer } from './peer.ts'
import type { Profile, ProfileName } from './profile.ts'

export interface Scenario {
  /** For `--only`. */
  readonly name: string
  /** Profiles that it belongs to; `--only` runs it in any. */
  readonly profiles: readonly ProfileName[]
  /** `all`: interleaved over all rounds. `one`: the first round only. */
  readonly rounds: 'all' | 'one'
  /** Finds each peer's best setting and depth for itself; others take those of `flow`. */
  readonly choosesSetting: boolean
  /** How deep the load may go: what suits a peer that commits in groups drowns another, and the other way round. */
  readonly depths?: readonly number[]
  /** What is shown. The first figure decides which setting of a peer is its best. */
  readonly figures: readonly Figure[]
  takes(peer: Peer): boolean
  /** Why it cannot run on this machine; undefined when it can. */
  missing?(): string | undefined
  measure(peer: Peer, conditions: Conditions): Promise<Outcome>
}

/** One line of the table: a value or several of one kind, in the unit that the title names. */
export interface Figure {
  readonly title: string
  /** Names of values of the outcome. The last one is compared. */
  readonly values: readonly string[]
  readonly better: 'higher' | 'lower'
  /** Whether the ratio to the peers is of interest. */
  readonly compared?: boolean
  readonly goals?: readonly Goal[]
}

/** What Fescue sets itself for a figure: a bound of one of its values, or of its ratio to a peer's. */
export interface Goal {
  readonly profile: ProfileName
  readonly value: string
  readonly atMost?: number
  readonly atLeast?: number
  /** Name of the peer whose value the bound multiplies. */
  readonly times?: string
}

export interface Conditions {
  readonly profile: Profile
  readonly setting: string
  /** Messages under way at most, in scenarios at full rate. */
  readonly depth: number
  /** Exists and is empty. */
  readonly folder: string
  /** Length of a measurement. */
  readonly seconds: number
  /** Length of the load before it that does not count. */
  readonly warmSeconds: number
  /** Records of the backlog scenario. */
  readonly records: number
  /** Processes killed in the kills scenario. */
  readonly kills: number
  readonly random: Random
  say(line: string): void
}

export interface Outcome {
  readonly values: Readonly<Record<string, number>>
  /** What broke a promise, in plain lines. */
  readonly violations?: readonly string[]
}
