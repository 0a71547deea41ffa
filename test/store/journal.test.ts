import { mkdtempDisposable, readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { BackendOperation } from '#store/backend.ts'
import { Journal, journalSegmentsMax } from '#store/journal.ts'
import { segmentHeaderBytes } from '#store/journal-segment.ts'

const segmentBytes = 16 * 1024
const temp = () => mkdtempDisposable(join(tmpdir(), 'fescue-journal-'))
const open = (folder: string, keepBytes = 2 * segmentBytes) =>
  Journal.open({ folder, keepBytes, segmentBytes })

const put = (key: string, bytes = 100): BackendOperation[] => [
  { type: 'put', key: Buffer.from(key), value: Buffer.alloc(bytes, key) },
  { type: 'del', key: Buffer.from(`not ${key}`) },
]

async function numbers(journal: Journal, first = 0): Promise<number[]> {
  return (await Array.fromAsync(journal.batches(first))).map(batch => batch.number)
}

const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, index) => from + index)

t.test('batches are read back whole and in order after a restart', async t => {
  await using dir = await temp()
  const journal = await open(dir.path)
  for (const number of range(1, 51)) await journal.append(number, put(`k${number}`), number % 2 === 0)
  await journal.close()
  const again = await open(dir.path)
  t.same(await numbers(again), range(1, 51))
  t.same(await numbers(again, 40), range(40, 51))
  const [first] = await Array.fromAsync(again.batches(7))
  t.same(first?.operations, put('k7'))
  await again.close()
})

t.test('segments are recycled and never more than their bound; what must be kept is there', async t => {
  await using dir = await temp()
  const journal = await open(dir.path)
  for (const number of range(1, 2_001)) await journal.append(number, put(`k${number}`), false)
  t.ok(journal.segments <= 5 && journal.segments <= journalSegmentsMax, `${journal.segments} segments`)
  await journal.close()
  for (const name of await readdir(dir.path)) t.equal((await stat(join(dir.path, name))).size, segmentBytes)
  const again = await open(dir.path)
  const found = await numbers(again)
  t.equal(found.at(-1), 2_000)
  t.same(found, range(found[0] ?? 0, 2_001))
  t.ok(found.length * 240 >= 2 * segmentBytes, `${found.length} batches kept`)
  await again.close()
})

t.test('a batch larger than a segment is several frames, and half of it is nothing', async t => {
  await using dir = await temp()
  const journal = await open(dir.path, 1024)
  await journal.append(1, put('small'), true)
  await journal.append(2, put('large', 50_000), true)
  await journal.append(3, put('after'), true)
  await journal.close()
  const again = await open(dir.path)
  const batches = await Array.fromAsync(again.batches(0))
  t.same(
    batches.map(batch => batch.number),
    [1, 2, 3],
    'no part of it was recycled for another, and what came before is kept',
  )
  t.same(batches[1]?.operations, put('large', 50_000))
  await again.close()
  const last = (await readdir(dir.path)).sort().at(-1) ?? ''
  await writeFile(join(dir.path, last), Buffer.alloc(segmentBytes))
  const torn = await open(dir.path)
  t.same(await numbers(torn), [1])
  await torn.close()
})

t.test('a tail torn at any byte costs the torn batch alone', async t => {
  await using dir = await temp()
  const journal = await open(dir.path)
  for (const number of range(1, 4)) await journal.append(number, put(`k${number}`, 20), true)
  await journal.close()
  const [name = ''] = await readdir(dir.path)
  const path = join(dir.path, name)
  const whole = await readFile(path)
  const ends = [segmentHeaderBytes]
  for (let at = segmentHeaderBytes; ends.length < 4; at = ends.at(-1) ?? 0)
    ends.push(at + 15 + whole.readUInt32BE(at))
  const end = ends.at(-1) ?? 0
  for (let cut = 0; cut <= end; cut++) {
    const torn = Buffer.from(whole)
    torn.fill(0, cut, end)
    await writeFile(path, torn)
    const again = await open(dir.path)
    const expected = cut < 22 ? 0 : ends.slice(1).filter(edge => edge <= cut).length
    const found = await numbers(again)
    if (found.length !== expected && !torn.equals(whole))
      t.same(found, range(1, expected + 1), `cut at ${cut}`)
    await again.close()
  }
  t.pass(`${end} cuts`)
})

t.test('one flipped bit ends the journal there, never gives a wrong batch', async t => {
  await using dir = await temp()
  const journal = await open(dir.path)
  for (const number of range(1, 4)) await journal.append(number, put(`k${number}`, 20), true)
  await journal.close()
  const [name = ''] = await readdir(dir.path)
  const path = join(dir.path, name)
  const whole = await readFile(path)
  for (let bit = 0; bit < 280 * 8; bit += 5) {
    const flipped = Buffer.from(whole)
    flipped[bit >>> 3] = (flipped[bit >>> 3] ?? 0) ^ (1 << (bit & 7))
    await writeFile(path, flipped)
    const again = await open(dir.path)
    for await (const batch of again.batches(0)) {
      if (JSON.stringify(batch.operations) !== JSON.stringify(put(`k${batch.number}`, 20)))
        t.fail(`bit ${bit}`)
    }
    await again.close()
  }
  t.pass()
})

t.test(
  "frames of a segment's earlier life are not taken for new ones, though number and place fit",
  async t => {
    await using dir = await temp()
    const journal = await open(dir.path)
    for (const number of range(1, 11)) await journal.append(number, put(`old${number}`.padEnd(6)), true)
    await journal.begin()
    for (const number of range(1, 4)) await journal.append(number, put(`new${number}`.padEnd(6)), true)
    await journal.close()
    const again = await open(dir.path)
    t.same(await numbers(again), [1, 2, 3])
    await again.close()
  },
)

t.test('a file whose making was cut short is removed', async t => {
  await using dir = await temp()
  const journal = await open(dir.path)
  await journal.append(1, put('k'), true)
  await journal.close()
  await writeFile(join(dir.path, '000009.journal'), Buffer.alloc(segmentBytes))
  await truncate(join(dir.path, '000009.journal'), 100)
  const again = await open(dir.path)
  t.same(await numbers(again), [1])
  t.equal((await readdir(dir.path)).length, 1)
  await again.close()
})

t.test('segments of another size are read, then replaced', async t => {
  await using dir = await temp()
  const journal = await Journal.open({ folder: dir.path, keepBytes: 1, segmentBytes: 8 * 1024 })
  for (const number of range(1, 21)) await journal.append(number, put(`k${number}`), true)
  await journal.close()
  const again = await open(dir.path)
  t.equal((await numbers(again)).at(-1), 20)
  await again.begin()
  await again.append(21, put('k21'), true)
  t.same(await numbers(again), [21])
  await again.close()
  for (const name of await readdir(dir.path)) t.equal((await stat(join(dir.path, name))).size, segmentBytes)
})

t.test('after discard everything is written to new files', async t => {
  await using dir = await temp()
  const journal = await open(dir.path)
  await journal.append(1, put('k'), true)
  const before = await readdir(dir.path)
  await journal.discard()
  await journal.append(2, put('k2'), true)
  t.same(
    (await readdir(dir.path)).filter(name => before.includes(name)),
    [],
  )
  await journal.close()
  const again = await open(dir.path)
  t.same(await numbers(again), [2])
  await again.close()
})

for (const content of ['the same', 'other'] as const) {
  t.test(
    `a batch that was written again after an error, with ${content} content, is the later one`,
    async t => {
      await using dir = await temp()
      const journal = await open(dir.path)
      for (const number of range(1, 201)) await journal.append(number, put(`k${number}`), true)
      await journal.begin()
      const name = (number: number) => (content === 'the same' ? `k${number}` : `new${number}`)
      for (const number of range(200, 206)) await journal.append(number, put(name(number)), true)
      await journal.close()
      const again = await open(dir.path)
      const found = await Array.fromAsync(again.batches(200))
      t.same(
        found.map(batch => batch.number),
        range(200, 206),
        'what follows it is there too',
      )
      t.same(found[0]?.operations, put(name(200)))
      await again.close()
    },
  )
}

t.test('a batch that was torn and written again is the whole one', async t => {
  await using dir = await temp()
  const journal = await open(dir.path)
  for (const number of range(1, 201)) await journal.append(number, put(`k${number}`), true)
  await journal.append(201, put('torn', 4 * segmentBytes), true)
  const last = (await readdir(dir.path)).sort().at(-1) ?? ''
  await journal.begin()
  await writeFile(join(dir.path, last), Buffer.alloc(segmentBytes))
  await journal.append(201, put('whole'), true)
  await journal.append(202, put('after'), true)
  await journal.close()
  const again = await open(dir.path)
  const found = await Array.fromAsync(again.batches(201))
  t.same(
    found.map(batch => batch.number),
    [201, 202],
  )
  t.same(found[0]?.operations, put('whole'))
  await again.close()
})

t.test('one large batch does not push out what LevelDB holds unsynced beside it', async t => {
  await using dir = await temp()
  const journal = await open(dir.path)
  for (const number of range(1, 11)) await journal.append(number, put(`k${number}`), true)
  await journal.append(11, put('large', 5 * segmentBytes), true)
  await journal.append(12, put('after'), true)
  await journal.close()
  const again = await open(dir.path)
  t.same(await numbers(again), range(1, 13))
  t.ok(again.segments <= journalSegmentsMax)
  await again.close()
})
