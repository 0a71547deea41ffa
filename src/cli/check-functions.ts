/** The functions as `fescue check` sees them: do they build, and does what they publish start them again. */
import { filtersOverlap } from '#base/topics.ts'
import { Bundler } from '#invoker/bundler.ts'
import { type Candidate, FunctionFolders } from '#invoker/function-folders.ts'
import { type Manifest, manifestReader } from '#invoker/manifest.ts'
import { type CheckFinding, findingsOf } from './check-finding.ts'

const { ok, warning, failed } = findingsOf('Functions')

/** A function that builds. */
interface Built {
  readonly name: string
  readonly manifest: Manifest
}

export async function functionFindings(folder: string): Promise<CheckFinding[]> {
  // Without a cache: nothing is written, and what is checked is what is there.
  const scan = await new FunctionFolders(folder, new Bundler(undefined), await manifestReader()).scan()
  if (scan.kind === 'unreadable')
    return [
      warning('functions', `${folder} cannot be read: ${scan.error.message}`, 'make it, or set functions'),
    ]
  if (scan.candidates.length === 0)
    return [
      warning('functions', `${folder} has none`, 'a function is a folder with function.yaml and index.ts'),
    ]
  const built = scan.candidates.flatMap(candidate =>
    candidate.kind === 'built' ? [{ name: candidate.name, manifest: candidate.revision.manifest }] : [],
  )
  return [...scan.candidates.map(buildFinding), ...built.flatMap(startFindings), ...loopFindings(built)]
}

function buildFinding(candidate: Candidate): CheckFinding {
  const id = `function.${candidate.name}`
  if (candidate.kind === 'failed') return failed(id, candidate.error.message)
  const { topics, schedules, publish } = candidate.revision.manifest
  const starts = [...topics.map(({ topic }) => topic), ...schedules.map(({ schedule }) => schedule)]
  const effects = publish.length === 0 ? 'publishes nothing' : `may publish ${publish.join(', ')}`
  return ok(id, `${starts.length === 0 ? 'no trigger' : `on ${starts.join(', ')}`}; ${effects}`)
}

function startFindings({ name, manifest }: Built): CheckFinding[] {
  if (manifest.topics.length + manifest.schedules.length > 0) return []
  const mend = 'add a topic or a schedule to triggers, or call it with fescue invoke'
  return [warning(`function.${name}`, 'nothing starts it', mend)]
}

/** Which filters make one function start another. */
interface Link {
  readonly publishes: string
  readonly trigger: string
}

function linkOf(from: Built, to: Built): Link | undefined {
  for (const publishes of from.manifest.publish)
    for (const { topic: trigger } of to.manifest.topics)
      if (filtersOverlap(publishes, trigger)) return { publishes, trigger }
  return undefined
}

/** Circles of functions, the shortest through each one; a circle is told once. */
function loopFindings(built: readonly Built[]): CheckFinding[] {
  const told = new Set<string>()
  return built.flatMap(start => {
    const circle = circleFrom(start, built)
    if (circle === undefined) return []
    const key = circle
      .map(({ name }) => name)
      .sort()
      .join(' ')
    if (told.has(key)) return []
    told.add(key)
    return [loopFinding(circle)]
  })
}

function loopFinding(circle: readonly Built[]): CheckFinding {
  const [first] = circle
  const steps = circle.map((from, index) => {
    const to = circle[(index + 1) % circle.length] ?? from
    const { publishes, trigger } = linkOf(from, to) ?? { publishes: '?', trigger: '?' }
    return `${from.name} may publish ${publishes}, which starts ${to.name} (${trigger})`
  })
  const mend = 'narrow permissions.publish or the trigger; a loop ends after 16 steps, as a dead letter'
  return warning(`function.${first?.name ?? ''}`, `a loop: ${steps.join('; ')}`, mend)
}

/** Breadth first: the shortest way from a function back to itself. */
function circleFrom(start: Built, built: readonly Built[]): readonly Built[] | undefined {
  const seen = new Set<Built>()
  let paths: (readonly Built[])[] = [[start]]
  while (paths.length > 0) {
    const longer: (readonly Built[])[] = []
    for (const path of paths) {
      const last = path.at(-1) ?? start
      for (const next of built) {
        if (linkOf(last, next) === undefined) continue
        if (next === start) return path
        if (seen.has(next)) continue
        seen.add(next)
        longer.push([...path, next])
      }
    }
    paths = longer
  }
  return undefined
}
