/**
 * Puts peers into scenarios: first each setting of each peer briefly, and loads of different depth, to find its
 * best; then rounds, in which the peers take turns within each scenario, so that what changes on the machine
 * meanwhile changes for all.
 *
 *   for each scenario: for each peer: for each setting, for each depth ─► the best
 *   for each round: for each scenario: for each peer in turn ─► a measurement
 */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { BestManners, depthDefault, firstManner, type Manner, nameOf } from './manner.ts'
import type { Peer } from './peer.ts'
import type { Conditions, Outcome, Scenario } from './scenario.ts'

export interface Measurement extends Outcome, Manner {
  readonly scenario: string
  readonly peer: string
  readonly round: number
}

/** A short trial of a setting, before the rounds. */
export interface SettingTrial extends Outcome, Manner {
  readonly scenario: string
  readonly peer: string
  readonly chosen: boolean
}

/** What was not measured, and why. */
export interface LeftOut {
  readonly what: string
  readonly reason: string
}

export interface Findings {
  readonly settings: SettingTrial[]
  readonly measurements: Measurement[]
  readonly leftOut: LeftOut[]
}

export interface Plan {
  readonly scenarios: readonly Scenario[]
  readonly peers: readonly Peer[]
  readonly rounds: number
  /** Skips the search for the best settings; the first of each peer counts. */
  readonly firstSettings: boolean
  readonly conditions: Omit<Conditions, keyof Manner | 'folder'>
  readonly folder: string
}

export async function runRounds(plan: Plan): Promise<Findings> {
  const findings: Findings = { settings: [], measurements: [], leftOut: [] }
  const peers = present(plan.peers, peer => peer.name, findings)
  const scenarios = present(plan.scenarios, scenario => scenario.name, findings)
  for (const { what, reason } of findings.leftOut) plan.conditions.say(`left out: ${what} (${reason})`)
  const best = new BestManners()
  if (!plan.firstSettings) {
    for (const scenario of scenarios.filter(each => each.choosesSetting))
      for (const peer of peers.filter(each => scenario.takes(each)))
        best.set(scenario, peer, await tryThem(plan, scenario, peer, findings))
  }
  for (let round = 1; round <= plan.rounds; round++) {
    for (const scenario of scenarios.filter(each => each.rounds === 'all' || round === 1)) {
      const takers = peers.filter(peer => scenario.takes(peer))
      for (const peer of rotated(takers, round - 1)) {
        const manner = best.of(scenario, peer)
        const name = `${scenario.name}, ${peer.name} (${nameOf(manner)}), round ${round}`
        const outcome = await trial(plan, scenario, peer, manner, name, findings)
        if (outcome !== undefined)
          findings.measurements.push({
            scenario: scenario.name,
            peer: peer.name,
            ...manner,
            round,
            ...outcome,
          })
      }
    }
  }
  return findings
}

/** Those that can run here; the others are noted with their reasons. */
function present<T extends { missing?(): string | undefined }>(
  all: readonly T[],
  nameOf: (each: T) => string,
  { leftOut }: Findings,
): T[] {
  return all.filter(each => {
    const reason = each.missing?.()
    if (reason !== undefined) leftOut.push({ what: nameOf(each), reason })
    return reason === undefined
  })
}

/** Tries each setting for a third of the time, then the best one at other depths. Returns the best of all. */
async function tryThem(plan: Plan, scenario: Scenario, peer: Peer, findings: Findings): Promise<Manner> {
  const { warmSeconds, seconds } = plan.conditions
  const short = {
    ...plan,
    conditions: { ...plan.conditions, warmSeconds: (warmSeconds * 2) / 3, seconds: seconds / 3 },
  }
  const tried: { manner: Manner; outcome: Outcome; score: number }[] = []
  const tryOne = async (manner: Manner) => {
    const name = `${scenario.name}, ${peer.name}, trying ${nameOf(manner)}`
    const outcome = await trial(short, scenario, peer, manner, name, findings)
    if (outcome !== undefined) tried.push({ manner, outcome, score: score(scenario, outcome) })
  }
  const best = () => tried.toSorted((a, b) => b.score - a.score)[0]?.manner ?? firstManner(scenario, peer)
  const [depth = depthDefault, ...otherDepths] = scenario.depths ?? []
  if (peer.settings.length + otherDepths.length === 1) return firstManner(scenario, peer)
  for (const setting of peer.settings) await tryOne({ setting, depth })
  const { setting } = best()
  for (const other of otherDepths) await tryOne({ setting, depth: other })
  const winner = best()
  for (const { manner, outcome } of tried)
    findings.settings.push({
      scenario: scenario.name,
      peer: peer.name,
      ...manner,
      chosen: manner === winner,
      ...outcome,
    })
  return winner
}

/** Higher is better. */
function score(scenario: Scenario, { values }: Outcome): number {
  const [figure] = scenario.figures
  const value = values[figure?.values.at(-1) ?? ''] ?? 0
  return figure?.better === 'lower' ? -value : value
}

function rotated<T>(items: readonly T[], by: number): T[] {
  return items.map((_, i) => items[(i + by) % items.length]!)
}

/** One measurement in a folder of its own. A peer that fails costs its own figure, with its reason. */
async function trial(
  { conditions, folder: parent }: Plan,
  scenario: Scenario,
  peer: Peer,
  manner: Manner,
  name: string,
  { leftOut }: Findings,
): Promise<Outcome | undefined> {
  const folder = join(parent, name.replaceAll(/\W+/g, '-'))
  mkdirSync(folder)
  try {
    const outcome = await scenario.measure(peer, { ...conditions, ...manner, folder })
    conditions.say(`${name}: ${describe(scenario, outcome)}`)
    for (const violation of outcome.violations ?? []) conditions.say(`  BROKEN: ${violation}`)
    return outcome
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    conditions.say(`${name}: FAILED: ${reason}`)
    leftOut.push({ what: name, reason })
    return undefined
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
  }
}

function describe(scenario: Scenario, { values }: Outcome): string {
  return scenario.figures
    .flatMap(figure => figure.values)
    .filter(key => values[key] !== undefined)
    .map(key => `${key} ${values[key]}`)
    .join(', ')
}
