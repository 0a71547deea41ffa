/**
 * What the readers of tables and logs find in databases that LevelDB itself wrote: random puts and deletes, in many
 * tables, compacted or not, in the log or not, must come back equal; single bits are set right wherever they lie.
 */
import { copyFile, mkdtempDisposable, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { FileWindow } from '#store/salvage/file-window.ts'
import { Findings } from '#store/salvage/findings.ts'
import { type Rebuilt, rebuild } from '#store/salvage/rebuild.ts'
import { findBlocks, type IndexedBlock } from '#store/salvage/table-index.ts'
import { contentOf, type Model, openDatabase, scribble, sorted } from '../../fakes/random-database.ts'
import { type Random, seededRandom } from '../../harness/random.ts'

const temp = () => mkdtempDisposable(join(tmpdir(), 'fescue-rebuild-'))

async function write(
  folder: string,
  random: Random,
  options: object = {},
  compact = false,
  batches = 150,
): Promise<Model> {
  const model: Model = new Map()
  for (let life = 0; life < 2; life++) {
    const database = await openDatabase(folder, options)
    await scribble(database, model, random, batches)
    if (compact) await database.compactRange(Buffer.from([0]), Buffer.alloc(16, 0xff))
    await database.close()
  }
  return model
}

async function rebuilt(folder: string): Promise<{ content: Model; result: Rebuilt }> {
  const result = await rebuild(folder, `${folder}.new`)
  return { content: await contentOf(`${folder}.new`), result }
}

async function namesOf(folder: string, pattern: RegExp): Promise<string[]> {
  return (await readdir(folder)).filter(name => pattern.test(name)).sort()
}

/** Runs `damage` on each table of a compacted database in turn, which is whole again for the next. */
async function eachTable(
  t: Test,
  damage: (table: {
    path: string
    whole: Buffer
    folder: string
    model: Model
    random: Random
  }) => Promise<void>,
): Promise<void> {
  const random = seededRandom()
  t.comment(`SEED=${random.seed}`)
  await using dir = await temp()
  const folder = join(dir.path, 'db')
  const model = await write(folder, random, {}, true)
  for (const name of await namesOf(folder, /\.ldb$/)) {
    const path = join(folder, name)
    const whole = await readFile(path)
    await damage({ path, whole, folder, model, random })
    await writeFile(path, whole)
  }
}

async function blocksOf(path: string): Promise<readonly IndexedBlock[]> {
  const file = await FileWindow.open(path)
  try {
    return (await findBlocks(file, new Findings())).blocks
  } finally {
    await file.close()
  }
}

for (const [name, options, compact] of [
  ['as it comes', {}, false],
  ['compacted', {}, true],
  ['uncompressed', { compression: false }, false],
  ['in one table and the log', { writeBufferSize: 16 * 1024 * 1024 }, false],
] as const) {
  t.test(`random puts and deletes, ${name}, are read back equal`, async t => {
    const random = seededRandom()
    t.comment(`SEED=${random.seed}`)
    await using dir = await temp()
    const folder = join(dir.path, 'db')
    const model = await write(folder, random, options, compact)
    const { content, result } = await rebuilt(folder)
    t.same(sorted(content), sorted(model))
    t.match(result, { findings: { mendedBits: 0, lostBlocks: 0 }, lostLogBytes: 0 })
    t.ok(model.size > 100 && result.findings.blocks > 0)
  })
}

t.test('a flipped bit anywhere in any file costs nothing', async t => {
  const random = seededRandom()
  t.comment(`SEED=${random.seed}`)
  await using dir = await temp()
  const folder = join(dir.path, 'db')
  const model = sorted(await write(folder, random, {}, false, 40))
  const names = await namesOf(folder, /\.ldb$|\.log$|^MANIFEST|^CURRENT/)
  let mended = 0
  for (let round = 0; round < 20; round++) {
    const path = join(folder, random.pick(names))
    const whole = await readFile(path)
    if (whole.length === 0) continue
    // Half of them at the end, where footer and index are.
    const from = round % 2 === 0 ? 0 : Math.max(0, whole.length - 200)
    const [at, bit] = [random.int(from, whole.length), random.int(0, 8)]
    const flipped = Buffer.from(whole)
    flipped[at] = (flipped[at] ?? 0) ^ (1 << bit)
    await writeFile(path, flipped)
    const { content, result } = await rebuilt(folder)
    const isEqual = JSON.stringify(sorted(content)) === JSON.stringify(model)
    if (!isEqual || result.findings.lostBlocks > 0) t.fail(`${path} byte ${at} bit ${bit}`)
    mended += result.findings.mendedBits
    await writeFile(path, whole)
  }
  t.ok(mended > 0, `${mended} bits were set right`)
})

t.test('a sector of zeros costs the keys of its block; all others are right', t =>
  eachTable(t, async ({ path, whole, folder, model, random }) => {
    const block = random.pick((await blocksOf(path)).filter(({ size }) => size > 1_000))
    const damaged = Buffer.from(whole)
    damaged.fill(0, block.offset + 100, block.offset + 612)
    await writeFile(path, damaged)
    const { content, result } = await rebuilt(folder)
    for (const [key, value] of content) if (model.get(key) !== value) t.fail(`${key} is wrong`)
    t.match(result.findings, { lostBlocks: 1, lostBytes: block.size + 5 })
    t.ok(
      content.size < model.size && content.size > model.size * 0.8,
      `${content.size} of ${model.size} keys`,
    )
  }),
)

t.test('without index and footer the blocks are found by their checksums', t =>
  eachTable(t, async ({ path, whole, folder, model }) => {
    // The index is long enough that its beginning survives; the metaindex before it says where the data ends.
    await writeFile(path, Buffer.concat([whole.subarray(0, -60), Buffer.alloc(60)]))
    const { content, result } = await rebuilt(folder)
    t.same(sorted(content), sorted(model), path)
    t.equal(result.findings.lostBlocks, 0)
    const blocks = await blocksOf(path)
    const cut = blocks[Math.floor(blocks.length / 2)]?.offset ?? 0
    await truncate(path, cut + 10)
    const half = await rebuilt(folder)
    for (const [key, value] of half.content) if (model.get(key) !== value) t.fail(`${key} is wrong`)
    t.ok(half.content.size > 0 && half.result.findings.lostBlocks === 1, 'what stands before the cut is read')
  }),
)

t.test('without CURRENT and manifest all tables count, and the newest version of a key', async t => {
  const random = seededRandom()
  t.comment(`SEED=${random.seed}`)
  await using dir = await temp()
  const folder = join(dir.path, 'db')
  const model = await write(folder, random)
  for (const name of await namesOf(folder, /^MANIFEST|^CURRENT/)) await rm(join(folder, name))
  t.same(sorted((await rebuilt(folder)).content), sorted(model))
})

t.test('a table that was replaced does not bring back what was deleted', async t => {
  await using dir = await temp()
  const folder = join(dir.path, 'db')
  const database = await openDatabase(folder)
  await database.put(Buffer.from('gone'), Buffer.alloc(200_000, 'x'))
  await database.put(Buffer.from('kept'), Buffer.from('1'))
  await database.compactRange(Buffer.from('a'), Buffer.from('z'))
  const old = await namesOf(folder, /\.ldb$/)
  for (const name of old) await copyFile(join(folder, name), join(dir.path, name))
  await database.del(Buffer.from('gone'))
  await database.compactRange(Buffer.from('a'), Buffer.from('z'))
  await database.close()
  t.not((await namesOf(folder, /\.ldb$/)).join(), old.join())
  for (const name of old) await copyFile(join(dir.path, name), join(folder, name))
  t.same(sorted((await rebuilt(folder)).content), [['kept', '1']])
})
