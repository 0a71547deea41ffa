/**
 * Single flipped bits and cut files: the store starts, gives no wrong value, and reports what is gone.
 *
 *   whole ─► copies, each damaged once ─► 2 × store-judge.ts ─► a line per copy ─► judged here
 *               ▲                             └─ LevelDB ended the process: started again, as a service would be
 *               └──── at most `startsMax` starts each
 *
 * LevelDB 1.20 checks the checksums of tables that it compacts only with `paranoid_checks`, which classic-level
 * does not offer. A flipped bit in a key so reaches an assertion (keys out of order in table_builder.cc, a short
 * key in dbformat.h), which ends the process. The first tests let LevelDB compact everything at each start.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdtempDisposable, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { type Logger, silentLogger } from '#base/logger.ts'
import { openStore } from '#store/open.ts'
import { FileWindow } from '#store/salvage/file-window.ts'
import { Findings } from '#store/salvage/findings.ts'
import { findBlocks } from '#store/salvage/table-index.ts'
import { suspectAfterDeaths } from '#store/starts.ts'
import { Transaction } from '#store/transaction.ts'
import { payloads, record, wide } from '../conformance/store-suite.ts'
import { fill, optionsOf, textOf, type Verdict } from '../fakes/numbered-store.ts'
import { type Random, seededRandom } from '../harness/random.ts'

const script = join(import.meta.dirname, 'store-judge.ts')
/** Over all files; more with `FLIPS=…`. */
const flips = Number(process.env.FLIPS ?? 24)
/** In each kind of place of a table. */
const flipsInPlace = Number(process.env.FLIPS ?? 3)
const lanes = 2
const childMaxMs = 60_000
/** Three that LevelDB ends, and the one that looks the database through. */
const startsMax = suspectAfterDeaths + 1

/** A copy of the store with one damage. */
interface Copy {
  readonly folder: string
  readonly damage: string
}

type Outcome = { readonly copy: Copy; readonly starts: number } & (
  | { readonly kind: 'judged'; readonly verdict: Verdict | { readonly error: string } }
  | { readonly kind: 'died'; readonly how: string }
)

/** One child for all copies; after each death a further one, from the copy on that it died of. */
async function judgeAll(copies: readonly Copy[], flags: readonly string[]): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  let starts = 1
  while (outcomes.length < copies.length) {
    const rest = copies.slice(outcomes.length)
    const child = spawn(process.execPath, [script, ...flags, ...rest.map(copy => copy.folder)], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: childMaxMs,
      killSignal: 'SIGKILL',
    })
    const closed = once(child, 'close')
    const [out, errors] = await Promise.all([text(child.stdout), text(child.stderr)])
    const [code, signal] = await closed
    const lines = out.split('\n').slice(0, -1)
    for (const [index, copy] of rest.slice(0, lines.length).entries()) {
      outcomes.push({ copy, starts, kind: 'judged', verdict: JSON.parse(lines[index] ?? '') })
      starts = 1
    }
    const copy = rest[lines.length]
    if (copy !== undefined) {
      const how = `${code ?? signal}: ${errors}`
      if (signal !== 'SIGABRT' || starts === startsMax) outcomes.push({ copy, starts, kind: 'died', how })
      else starts += 1
    } else if (code !== 0) throw new Error(`ended with ${code ?? signal} after its last line: ${errors}`)
  }
  return outcomes
}

async function judgeInLanes(copies: readonly Copy[], ...flags: string[]): Promise<Outcome[]> {
  const lane = (number: number) =>
    judgeAll(
      copies.filter((_, index) => index % lanes === number),
      flags,
    )
  return (await Promise.all(Array.from({ length: lanes }, (_, number) => lane(number)))).flat()
}

/** Fails for wrong values, missing records that the ledger does not name, errors and deaths; true when records are missing. */
function check(t: Test, outcome: Outcome): boolean {
  const fine =
    outcome.kind === 'judged' &&
    'wrong' in outcome.verdict &&
    outcome.verdict.wrong === 0 &&
    outcome.verdict.explained === outcome.verdict.missing
  if (!fine) t.fail(JSON.stringify(outcome))
  return fine && 'missing' in outcome.verdict && outcome.verdict.missing > 0
}

const missingIn = (outcome: Outcome | undefined): number =>
  outcome?.kind === 'judged' && 'missing' in outcome.verdict ? outcome.verdict.missing : 0
const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0)

/** All files of a store with their sizes. */
async function files(folder: string): Promise<{ path: string; size: number }[]> {
  const names = (await readdir(folder, { recursive: true })).filter(name => !name.endsWith('LOCK'))
  const found = await Promise.all(
    names.map(async name => ({ path: name, info: await stat(join(folder, name)) })),
  )
  return found
    .filter(file => file.info.isFile() && file.info.size > 0)
    .map(file => ({ path: file.path, size: file.info.size }))
    .sort((a, b) => (a.path < b.path ? -1 : 1))
}

/** Copies a store and flips a bit of one of its files. */
async function flipped(whole: string, folder: string, path: string, at: number, bit: number): Promise<Copy> {
  await cp(whole, folder, { recursive: true })
  const bytes = await readFile(join(folder, path))
  bytes[at] = (bytes[at] ?? 0) ^ (1 << bit)
  await writeFile(join(folder, path), bytes)
  return { folder, damage: `${path} byte ${at} bit ${bit}` }
}

t.test(`${flips} flipped bits over all files: no wrong value, each missing record is explained`, async t => {
  const random = seededRandom()
  t.comment(`SEED=${random.seed}`)
  await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-flips-'))
  const whole = join(dir.path, 'whole')
  await fill(whole)
  const all = (await files(whole)).filter(file => !file.path.endsWith('LOG'))
  const copies: Copy[] = []
  for (let round = 0; round < flips; round++) {
    const { path, size } = random.pick(all)
    const folder = join(dir.path, `flip-${round}`)
    copies.push(await flipped(whole, folder, path, random.int(0, size), random.int(0, 8)))
  }
  const outcomes = await judgeInLanes(copies)
  t.equal(outcomes.length, flips)
  const costly = outcomes.filter(outcome => check(t, outcome)).length
  t.comment(`${costly} of ${flips} cost records`)
})

/** Ranges of bytes in a table, by what lies there. */
async function placesIn(path: string): Promise<Record<string, (random: Random) => number>> {
  const file = await FileWindow.open(path)
  const { blocks } = await findBlocks(file, new Findings())
  const { size } = file
  await file.close()
  const end = ({ offset, size }: { offset: number; size: number }) => offset + size
  const dataEnd = Math.max(...blocks.map(end))
  return {
    'first key of a block': random => random.pick(blocks).offset + random.int(0, 16),
    'end of a block, restarts': random => end(random.pick(blocks)) - random.int(1, 9),
    'type and checksum': random => end(random.pick(blocks)) + random.int(0, 5),
    'filter and index': random => random.int(dataEnd + 5, size - 48),
    footer: random => random.int(size - 48, size),
  }
}

t.test(
  'a flipped bit anywhere in the database is healed within four starts, whatever LevelDB does',
  async t => {
    const random = seededRandom()
    t.comment(`SEED=${random.seed}`)
    await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-tables-'))
    const source = join(dir.path, 'whole')
    await fill(source)
    const all = (await files(source)).filter(
      file => file.path.startsWith('level/') && !file.path.endsWith('LOG'),
    )
    const tables = all.filter(file => file.path.endsWith('.ldb'))
    const copies: Copy[] = []
    for (let round = 0; round < flipsInPlace; round++) {
      const { path } = random.pick(tables)
      for (const [place, at] of Object.entries(await placesIn(join(source, path)))) {
        const folder = join(dir.path, `flip-${copies.length}`)
        const copy = await flipped(source, folder, path, at(random), random.int(0, 8))
        copies.push({ ...copy, damage: `${place}: ${copy.damage}` })
      }
      for (const { path, size } of all.filter(file => !tables.includes(file))) {
        const folder = join(dir.path, `flip-${copies.length}`)
        copies.push(await flipped(source, folder, path, random.int(0, size), random.int(0, 8)))
      }
    }
    const outcomes = await judgeInLanes(copies, '--compact')
    t.equal(outcomes.length, copies.length)
    for (const outcome of outcomes) {
      check(t, outcome)
      if (outcome.starts === 1) continue
      t.comment(`${outcome.copy.damage}: LevelDB ended the process ${outcome.starts - 1} times`)
      const healed = { wrong: 0, missing: 0, withoutDocument: 0, salvage: { kind: 'mended', mendedBits: 1 } }
      t.match(outcome, { kind: 'judged', verdict: healed })
    }
    // What was read as damaged, and not compacted away yet, is looked at by the next start.
    const again = await judgeInLanes(copies)
    for (const [index, outcome] of again.entries()) {
      const [before, after] = [missingIn(outcomes[index]), missingIn(outcome)]
      if (after > before) t.fail(`${outcome.copy.damage}: ${after} records are missing, before ${before}`)
    }
    t.comment(
      `records missing: ${sum(outcomes.map(missingIn))}, at the next start ${sum(again.map(missingIn))}`,
    )
  },
)

t.test('each file removed or cut in turn: the store starts and gives no wrong value', async t => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-cut-'))
  const whole = join(dir.path, 'whole')
  await fill(whole)
  const copies: Copy[] = []
  for (const { path, size } of await files(whole)) {
    for (const kind of ['removed', 'halved', 'cut by 3'] as const) {
      const folder = join(dir.path, `damaged-${copies.length}`)
      await cp(whole, folder, { recursive: true })
      if (kind === 'removed') await rm(join(folder, path))
      else
        await truncate(join(folder, path), kind === 'halved' ? Math.floor(size / 2) : Math.max(0, size - 3))
      copies.push({ folder, damage: `${path} ${kind}` })
    }
  }
  for (const outcome of await judgeInLanes(copies)) {
    t.match(outcome, { kind: 'judged', verdict: { wrong: 0 } }, JSON.stringify(outcome))
  }
})

t.test('a compaction that meets a damaged table is mended, and writes go on', async t => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-compaction-'))
  await fill(dir.path)
  const level = join(dir.path, 'level')
  const tables = (await readdir(level)).filter(name => name.endsWith('.ldb'))
  t.ok(tables.length > 0)
  for (const name of tables) {
    const bytes = await readFile(join(level, name))
    // The length that opens the first block: LevelDB notices it always, where a key could reach an assertion.
    bytes[0] = (bytes[0] ?? 0) ^ 0xff
    await writeFile(join(level, name), bytes)
  }
  let failedWrites = 0
  const logger: Logger = {
    ...silentLogger,
    warn: (_, message) => (failedWrites += Number(/^a write failed/.test(message ?? ''))),
    child: () => logger,
  }
  await using store = await openStore(optionsOf(dir.path, logger))
  const log = store.log('b', wide)
  const rounds = 300
  for (let round = 0; round < rounds; round++) {
    // Bytes bring the compaction, not syncs: on a busy disk a sync takes up to 100 ms.
    const tx = new Transaction().require(round % 10 === 0 ? 'power' : 'process')
    for (let index = 0; index < 20; index++) tx.append(log, record(textOf(index)))
    tx.put('s', `k${round * 20}`, Buffer.from(`value ${round * 20}`))
    await store.write(tx)
  }
  t.ok(failedWrites > 0, 'a compaction met the damage')
  t.equal((await payloads(store, 'b')).length, rounds * 20)
  t.same(store.health, { state: 'ok' })
})
