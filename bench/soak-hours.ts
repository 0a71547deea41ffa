/**
 * A soak of hours: rounds of mixed load and faults, each judged, with samples of what the processes use.
 *
 *   ├─ first quarter: everything is killed ─┼─ the daemon lives; executor, endpoint and link fail ─┤
 *   round │ round │ round │ …        every round: load, faults, drain, verdict; every 5 s a sample
 */
import { FaultRun, type FaultRunOptions, type RoundReport } from '../test/harness/fault-run.ts'
import type { Target } from '../test/harness/kill.ts'
import { SideLoad, sideFunctions } from '../test/harness/side-load.ts'
import { countingFunctions } from '../test/harness/world.ts'
import { type Panel, plotSvg } from './plot.ts'
import { type Sample, slopePerHour, takeSample } from './soak-samples.ts'

export interface HoursRunOptions extends FaultRunOptions {
  readonly hours: number
  readonly roundMinutes: number
  /** Milliseconds between faults, from and to: while everything is killed, and after. */
  readonly faultEveryMs?: typeof faultDefaultMs
  readonly say: (line: string) => void
  /** Called after each round with all there is, so that a run that is ended early has its result. */
  readonly save: (report: HoursReport, plot: string) => Promise<void>
}

export interface HoursReport {
  readonly seed: number
  readonly hours: number
  readonly ratePerSecond: number
  readonly kills: Readonly<Record<Target, number>>
  readonly linkCuts: number
  readonly sent: number
  readonly admitted: number
  readonly cloudRecords: number
  readonly deadLetters: number
  readonly side: SideLoad['counts']
  /** Growth in the last life of the daemon, after the warm-up; MiB and files an hour. */
  readonly perHour: Readonly<Record<'daemonMb' | 'executorMb' | 'openFiles', number | undefined>>
  readonly rounds: readonly (RoundReport & { readonly seconds: number })[]
  readonly violations: readonly string[]
  readonly samples: readonly Sample[]
}

const sampleEveryMs = 5_000
/** Samples that are kept: a day's. */
const samplesMax = 20_000
const faultDefaultMs: Readonly<Record<'all' | 'far', readonly [number, number]>> = {
  all: [2_000, 18_000],
  far: [5_000, 40_000],
}
const everything: readonly Target[] = ['daemon', 'daemon', 'daemon', 'executor', 'executor', 'endpoint']
const farSide: readonly Target[] = ['executor', 'endpoint', 'endpoint']
/** Of a life of the daemon, before its memory is looked at: pools, caches and compiled code fill. */
const warmUpSeconds = 900
const slopeMaxMbPerHour = 1

export async function hoursRun(options: HoursRunOptions): Promise<HoursReport & { plot: string }> {
  const { random, say } = options
  await using run = await FaultRun.create({
    ...options,
    functions: { ...countingFunctions, ...sideFunctions },
  })
  const side = new SideLoad(run.world, random)
  const samples: Sample[] = []
  const startedAt = performance.now()
  const endAt = startedAt + options.hours * 3_600_000
  const quarter = startedAt + options.hours * 900_000
  const sampler = setInterval(async () => {
    const sample = await takeSample(run.world, startedAt)
    if (sample !== undefined && samples.length < samplesMax) samples.push(sample)
  }, sampleEveryMs)
  const rounds: (RoundReport & { seconds: number })[] = []
  const report = () => summary(options, run, side, samples, rounds)
  while (performance.now() < endAt) {
    const began = performance.now()
    const until = Math.min(endAt, began + options.roundMinutes * 60_000)
    const round = await run.round(async () => {
      side.start()
      while (performance.now() < until) await fault(options, run, performance.now() < quarter, until)
      side.stop()
    })
    rounds.push({ seconds: Math.round((performance.now() - began) / 1000), ...round })
    const { violations, perHour } = report()
    say(
      `round ${rounds.length}: ${round.admitted} admitted, ${round.violations.length} violations, ${JSON.stringify(run.kills)}, ${run.link.broken} cuts, ${JSON.stringify(perHour)}`,
    )
    for (const violation of round.violations) say(violation)
    await options.save(report(), plot(samples, violations.length))
  }
  clearInterval(sampler)
  return { ...report(), plot: plot(samples, report().violations.length) }
}

/** Waits a while, then does one harm. */
async function fault(options: HoursRunOptions, run: FaultRun, all: boolean, until: number): Promise<void> {
  const { random, faultEveryMs = faultDefaultMs } = options
  const [from, to] = all ? faultEveryMs.all : faultEveryMs.far
  const wait = Math.min(random.int(from, to), Math.max(0, until - performance.now()))
  await new Promise(resolve => setTimeout(resolve, wait))
  if (performance.now() >= until) return
  const choice = random.next()
  if (choice < 0.3) run.cutLink(run.link.broken + random.int(1, 4))
  else if (choice < 0.4) await run.visit()
  else await run.kill(random.pick(all ? everything : farSide))
}

function summary(
  options: HoursRunOptions,
  run: FaultRun,
  side: SideLoad,
  samples: readonly Sample[],
  rounds: readonly (RoundReport & { readonly seconds: number })[],
): HoursReport {
  const sum = (of: (round: RoundReport) => number) => rounds.reduce((total, each) => total + of(each), 0)
  const slope = (key: 'daemonMb' | 'executorMb' | 'openFiles') => slopePerHour(samples, key, warmUpSeconds)
  const grows = slope('daemonMb') ?? 0
  const violations = rounds.flatMap((round, index) =>
    round.violations.map(each => `round ${index + 1}: ${each}`),
  )
  if (options.hours >= 1 && grows > slopeMaxMbPerHour) violations.push(`memory rises by ${grows} MiB an hour`)
  return {
    seed: options.random.seed,
    hours: options.hours,
    ratePerSecond: options.ratePerSecond,
    kills: run.kills,
    linkCuts: run.link.broken,
    sent: sum(each => each.sent),
    admitted: sum(each => each.admitted),
    cloudRecords: sum(each => each.cloudRecords),
    deadLetters: sum(each => each.deadLetters),
    side: side.counts,
    perHour: { daemonMb: slope('daemonMb'), executorMb: slope('executorMb'), openFiles: slope('openFiles') },
    rounds,
    violations,
    samples,
  }
}

function plot(samples: readonly Sample[], violations: number): string {
  const series = (name: string, key: Exclude<keyof Sample, 'at' | 'daemon'>) => ({
    name,
    points: samples.map(each => [each.at, each[key]] as const),
  })
  const panels: Panel[] = [
    {
      title: 'resident memory',
      unit: 'MiB',
      series: [
        series('daemon', 'daemonMb'),
        series('executors', 'executorMb'),
        series('endpoint', 'endpointMb'),
      ],
    },
    { title: 'event-loop delay, p99', unit: 'ms', series: [series('daemon', 'loopDelayMs')] },
    {
      title: 'files',
      unit: 'count',
      series: [series('open', 'openFiles'), series('in data folder', 'dataFiles')],
    },
    { title: 'data folder', unit: 'MiB', series: [series('bytes', 'dataMb')] },
    {
      title: 'waiting in inboxes, outboxes, sessions',
      unit: 'records',
      series: [series('records', 'waiting')],
    },
  ]
  const starts = samples.filter((each, n) => n > 0 && each.daemon !== samples[n - 1]?.daemon)
  const marks = starts.map(({ at }) => ({ at, text: 'the daemon was killed and started again' }))
  return plotSvg(`Soak: ${violations} violations; dashed: daemon killed`, panels, marks)
}
