/**
 * `npm run bench`: Fescue beside its peers on this machine, in rounds that alternate between them.
 *
 *   scenario × peer × setting ──rounds.ts──► measurements ──► result file ──table.ts──► terminal, README
 *
 * Data goes to BENCH_DIR (default: the system's temporary folder), which must be on a disk.
 */
import { copyFileSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { parseArgs } from 'node:util'
import { buildPackage } from '../packaging/build.ts'
import { root } from '../test/harness/processes.ts'
import { seededRandom } from '../test/harness/random.ts'
import { inspectDisk } from './disk.ts'
import { allPeers, type Peer } from './peer.ts'
import { type Installed, openProfile, type Profile, type ProfileName } from './profile.ts'
import { withTable } from './readme-table.ts'
import { type Result, readResult, thisCommit, thisMachine } from './result.ts'
import { runRounds } from './rounds.ts'
import type { Scenario } from './scenario.ts'
import { scenarios } from './scenarios.ts'
import { renderTable } from './table.ts'

const usage = `npm run bench -- [options]
  --profile box|pi     this machine as it is, or made small: 15 ms more for each fsync, one core, 512 MB (box)
  --only A,B           these scenarios: ${scenarios.map(({ name }) => name).join(', ')}
  --peers A,B          these peers, by the beginnings of their names
  --rounds N           (3)
  --seconds N          length of a measurement, and of the load before it that does not count (1.5)
  --records N          of the backlog scenario (1,000,000)
  --kills N            of the kills scenario (20)
  --first-settings     do not search for the best setting of each peer
  --json FILE          keep the result
  --readme             keep the result in bench/results and put its table into the README
  --from FILE          measure nothing; show (and with --readme, write) the table of this result`

const { values: flags } = parseArgs({
  options: {
    profile: { type: 'string', default: 'box' },
    only: { type: 'string' },
    peers: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '1.5' },
    records: { type: 'string', default: '1000000' },
    kills: { type: 'string', default: '20' },
    'first-settings': { type: 'boolean', default: false },
    json: { type: 'string' },
    readme: { type: 'boolean', default: false },
    from: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})

const startedAt = performance.now()
const say = (line: string) => console.log(`${Math.round((performance.now() - startedAt) / 1000)} s  ${line}`)

function chosenScenarios(profile: ProfileName): Scenario[] {
  if (flags.only === undefined) return scenarios.filter(each => each.profiles.includes(profile))
  const names = flags.only.split(',')
  const unknown = names.filter(name => !scenarios.some(each => each.name === name))
  if (unknown.length > 0) throw new Error(`no scenario "${unknown.join('", "')}"\n\n${usage}`)
  return scenarios.filter(({ name }) => names.includes(name))
}

async function chosenPeers(): Promise<Peer[]> {
  const all = await allPeers()
  if (flags.peers === undefined) return all
  const simple = (text: string) => text.toLowerCase().replaceAll(/[^a-z]+/g, '-')
  const names = flags.peers.split(',').map(simple)
  // "aedes" is one peer and the beginning of another: a full name takes that one alone.
  const takes = (peer: Peer, name: string) =>
    all.some(each => simple(each.name) === name)
      ? simple(peer.name) === name
      : simple(peer.name).startsWith(name)
  const unknown = names.filter(name => !all.some(peer => takes(peer, name)))
  if (unknown.length > 0)
    throw new Error(`no peer "${unknown.join('", "')}"; there are ${all.map(({ name }) => name).join(', ')}`)
  return all.filter(peer => names.some(name => takes(peer, name)))
}

async function bench(profile: Profile, folder: string): Promise<Result> {
  const peers = await chosenPeers()
  const chosen = chosenScenarios(profile.name)
  const disk = inspectDisk(folder)
  const random = seededRandom()
  const rounds = Number(flags.rounds)
  const seconds = Number(flags.seconds)
  say(`profile ${profile.name}; limits: ${profile.limits.join('; ')}`)
  say(
    `${disk.device} ${disk.fileSystem}: fsync p50 ${disk.fsyncP50Ms} ms, p99 ${disk.fsyncP99Ms} ms; SEED=${random.seed}`,
  )
  const findings = await runRounds({
    scenarios: chosen,
    peers,
    rounds,
    firstSettings: flags['first-settings'],
    folder,
    conditions: {
      profile,
      random,
      say,
      seconds,
      warmSeconds: seconds,
      records: Number(flags.records),
      kills: Number(flags.kills),
    },
  })
  const measured = peers.filter(({ name }) => findings.measurements.some(({ peer }) => peer === name))
  return {
    profile: profile.name,
    limits: profile.limits,
    date: new Date().toISOString(),
    commit: thisCommit(),
    seed: random.seed,
    seconds: Math.round((performance.now() - startedAt) / 1000),
    rounds,
    secondsPerMeasurement: seconds,
    machine: thisMachine(),
    disk,
    peers: measured.map(peer => ({ name: peer.name, does: peer.does, version: peer.version() })),
    ...findings,
  }
}

/** Measures, in a folder that is gone at the end, however the end comes. */
async function measured(): Promise<Result> {
  const name = flags.profile
  if (name !== 'box' && name !== 'pi') throw new Error(`no profile "${name}"\n\n${usage}`)
  const folder = mkdtempSync(join(process.env.BENCH_DIR ?? tmpdir(), 'fescue-bench-'))
  // What makes its own temporary folder (images, the world of the kills) makes it on the same disk.
  process.env.TMPDIR = folder
  process.on('exit', () => rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }))
  return await bench(openProfile(name, await install(folder)), folder)
}

/** Puts there what a device has: Node, and the package of Fescue. */
async function install(folder: string): Promise<Installed> {
  const node = join(folder, 'node')
  copyFileSync(process.execPath, node)
  await buildPackage(join(folder, 'package'))
  // Its optional dependency, esbuild, which npm would have put beside it.
  symlinkSync(join(root, 'node_modules'), join(folder, 'package/node_modules'))
  return { node, fescue: join(folder, 'package/lib/main.js') }
}

async function main(): Promise<void> {
  if (flags.help) return console.log(usage)
  const result = flags.from === undefined ? await measured() : readResult(flags.from)
  const table = renderTable(result, scenarios)
  console.log(`\n${table}\n`)
  const kept = join(root, `bench/results/bench-${result.profile}-${result.date.slice(0, 10)}.json`)
  const file = flags.from ?? flags.json ?? (flags.readme ? kept : undefined)
  if (file === undefined)
    console.log('Not kept. --json FILE keeps the result, --readme puts it into the README.')
  else if (flags.from === undefined) writeFileSync(file, `${JSON.stringify(result, undefined, 2)}\n`)
  if (flags.readme && file !== undefined) {
    const readme = join(root, 'README.md')
    const text = readFileSync(readme, 'utf8')
    writeFileSync(readme, withTable(text, result.profile, relative(root, file), table))
  }
  const broken = result.measurements.flatMap(({ violations = [] }) => violations)
  if (broken.length > 0) {
    console.log(`A promise was broken:\n${broken.join('\n')}`)
    process.exitCode = 1
  }
}

// What was started, mounted and written is cleared away by listeners of the exit.
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)
  process.once(signal, () => process.exit(code))
await main()
