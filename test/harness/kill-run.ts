/** One round of a fault run, counted in kills: daemon, executor and endpoint at random instants. */
import { FaultRun, type FaultRunOptions, type RoundReport } from './fault-run.ts'
import type { Target } from './kill.ts'

export interface KillRunOptions extends FaultRunOptions {
  readonly kills: number
  /** Kills only this one. */
  readonly only?: Target
  /** Times that the link to the cloud is cut, spread over the run: at a byte of a request, of an answer, or at once. */
  readonly linkCuts?: number
  /** After so many kills the offline subscriber comes, takes its queue, and goes again (0: only at the end). */
  readonly offlineVisitEvery?: number
  readonly say?: (line: string) => void
}

export interface KillRunReport extends RoundReport {
  readonly seed: number
  readonly kills: Readonly<Record<Target, number>>
  readonly linkCuts: number
}

const targets: readonly Target[] = ['daemon', 'daemon', 'daemon', 'executor', 'executor', 'endpoint']

export async function killRun(options: KillRunOptions): Promise<KillRunReport> {
  const { random, say = () => {}, linkCuts = 0 } = options
  await using run = await FaultRun.create(options)
  const report = await run.round(async () => {
    for (let kill = 1; kill <= options.kills; kill++) {
      await new Promise(resolve => setTimeout(resolve, random.int(50, 700)))
      if (!(await run.kill(options.only ?? random.pick(targets)))) {
        kill -= 1
        continue
      }
      if (options.offlineVisitEvery && kill % options.offlineVisitEvery === 0) await run.visit()
      run.cutLink((linkCuts * kill) / options.kills)
      if (kill % 50 === 0) say(`${kill} kills, ${run.admitted} admitted`)
    }
  })
  return { seed: random.seed, kills: run.kills, linkCuts: run.link.broken, ...report }
}
