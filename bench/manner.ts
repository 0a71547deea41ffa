/** In which manner a peer is run in a scenario: the one that was found best for it. */
import type { Peer } from './peer.ts'
import type { Scenario } from './scenario.ts'

/** How a peer is run: its setting, and the messages that the load may have under way. */
export interface Manner {
  readonly setting: string
  readonly depth: number
}

export const nameOf = ({ setting, depth }: Manner) => `${setting}, ${depth} under way`

/** Messages under way where nothing was found. */
export const depthDefault = 4_000

/** The manner of a peer in a scenario: what was found, else what was found for the first scenario, else the first. */
export class BestManners {
  readonly #found = new Map<string, Manner>()

  set(scenario: Scenario, peer: Peer, manner: Manner): void {
    this.#found.set(`${scenario.name} ${peer.name}`, manner)
    if (!this.#found.has(peer.name)) this.#found.set(peer.name, manner)
  }

  of(scenario: Scenario, peer: Peer): Manner {
    const found = this.#found.get(`${scenario.name} ${peer.name}`)
    const { setting, depth } = found ?? this.#found.get(peer.name) ?? firstManner(scenario, peer)
    const { depths = [depth] } = scenario
    return { setting, depth: depths.includes(depth) ? depth : firstManner(scenario, peer).depth }
  }
}

export const firstManner = ({ depths = [] }: Scenario, { settings }: Peer): Manner => ({
  setting: settings[0] ?? '',
  depth: depths.at(-1) ?? depthDefault,
})
