/**
 * What a result says, as a Markdown table: a line per figure, a column per peer, medians over the rounds. A ratio is
 * the median of those of each round, in which Fescue and the peer ran one after the other.
 */
import type { Result } from './result.ts'
import type { Measurement } from './rounds.ts'
import type { Figure, Goal, Scenario } from './scenario.ts'

const us = 'Fescue'

export function median(values: readonly number[]): number | undefined {
  const sorted = values.toSorted((a, b) => a - b)
  const half = sorted.length >> 1
  if (sorted.length % 2 === 1) return sorted[half]
  return sorted.length === 0 ? undefined : ((sorted[half - 1] ?? 0) + (sorted[half] ?? 0)) / 2
}

/** The table and the lines under it. */
export function renderTable(result: Result, scenarios: readonly Scenario[]): string {
  const names = result.peers.map(({ name }) => name)
  const columns = names.filter(name => result.measurements.some(each => each.peer === name))
  const lines = [row(['', ...columns, 'goal']), `|---|${'---:|'.repeat(columns.length)}---|`]
  for (const scenario of scenarios) {
    const measurements = result.measurements.filter(each => each.scenario === scenario.name)
    if (measurements.length === 0) continue
    for (const figure of scenario.figures) {
      if (!figure.values.some(key => measurements.some(each => each.values[key] !== undefined))) continue
      const cells = columns.map(name => cell(measurements, name, figure))
      lines.push(row([figure.title, ...cells, goalsOf(result, measurements, figure)]))
    }
  }
  return [...lines, '', ...notes(result)].join('\n')
}

const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`

function cell(measurements: readonly Measurement[], peer: string, figure: Figure): string {
  const own = measurements.filter(each => each.peer === peer)
  const values = figure.values.map(key => medianOf(own, key))
  if (values.every(value => value === undefined)) return '–'
  const text = values.map(value => (value === undefined ? '–' : show(value))).join(' / ')
  const key = figure.values.at(-1) ?? ''
  const ratio = figure.compared && peer !== us ? ratioTo(measurements, peer, key) : undefined
  const lost = Math.max(0, ...own.map(each => each.values.missing ?? 0))
  return [
    text,
    ...(ratio === undefined ? [] : [`(${show(ratio)})`]),
    ...(figure.compared && lost > 0 ? [`${show(lost)} lost`] : []),
  ].join(' ')
}

function medianOf(measurements: readonly Measurement[], key: string): number | undefined {
  return median(measurements.flatMap(each => each.values[key] ?? []))
}

/** Fescue's value over the peer's. */
function ratioTo(measurements: readonly Measurement[], peer: string, key: string): number | undefined {
  const value = (name: string, round: number) =>
    measurements.find(each => each.peer === name && each.round === round)?.values[key]
  const rounds = [...new Set(measurements.map(({ round }) => round))]
  return median(
    rounds.flatMap(round => {
      const [ours, theirs] = [value(us, round), value(peer, round)]
      return ours === undefined || theirs === undefined || theirs === 0 ? [] : ours / theirs
    }),
  )
}

/** Goals with whether they are met; a bound is never left out because it was missed. */
function goalsOf(result: Result, measurements: readonly Measurement[], figure: Figure): string {
  const goals = (figure.goals ?? []).filter(({ profile }) => profile === result.profile)
  return goals
    .flatMap(goal => {
      const value =
        goal.times === undefined
          ? medianOf(
              measurements.filter(({ peer }) => peer === us),
              goal.value,
            )
          : ratioTo(measurements, goal.times, goal.value)
      return value === undefined ? [] : `${bound(goal)} ${isMet(goal, value) ? '✔' : '✘'}`
    })
    .join(', ')
}

function bound({ atLeast, atMost, times }: Goal): string {
  const limit = atLeast === undefined ? `≤ ${show(atMost ?? 0)}` : `≥ ${show(atLeast)}`
  return times === undefined ? limit : `${limit} × ${times}`
}

const isMet = ({ atLeast, atMost }: Goal, value: number) =>
  value >= (atLeast ?? -Infinity) && value <= (atMost ?? Infinity)

function show(value: number): string {
  const digits = Math.abs(value) >= 100 || Number.isInteger(value) ? 0 : Math.abs(value) >= 10 ? 1 : 2
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

function notes(result: Result): string[] {
  const { machine, disk, date, commit, rounds, secondsPerMeasurement, profile, limits, settings } = result
  const lines = [
    `${date.slice(0, 10)}, commit ${commit}: ${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, Node ` +
      `${machine.node}; ${disk.fileSystem}, fsync p50 ${disk.fsyncP50Ms} ms. Medians of ${rounds} interleaved ${rounds === 1 ? 'round' : 'rounds'} of ` +
      `${secondsPerMeasurement} s, each peer in ${settings.length === 0 ? 'its first setting' : 'the setting that was best for it'}; messages have 256 bytes, and the load ` +
      `generator shares the machine. In brackets: ` +
      `Fescue's figure over the peer's.`,
    '',
    ...result.peers.map(({ name, does, version }) => `- ${name} ${version}: ${does}`),
    ...result.leftOut.map(({ what, reason }) => `- Not measured: ${what} (${firstLine(reason)})`),
  ]
  return profile === 'box' ? lines : [...lines, `- In force for each peer: ${limits.join('; ')}.`]
}

const firstLine = (text: string) => text.split('\n')[0] ?? ''
