/** The count of starts that died: what makes a database suspicious, and what clears it. */
import { mkdtempDisposable, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { lastedMs, Starts } from '#store/starts.ts'
import { ManualClock } from '../fakes/manual-clock.ts'

const temp = () => mkdtempDisposable(join(tmpdir(), 'fescue-starts-'))

t.test('three deaths in a row make the database suspicious, then twice as many each time', async t => {
  await using dir = await temp()
  const suspicious: number[] = []
  for (let start = 0; start < 100; start++) {
    const starts = await Starts.count(dir.path)
    t.equal(starts.deaths, start)
    if (!starts.suspicious) continue
    suspicious.push(starts.deaths)
    await starts.looked()
  }
  t.same(suspicious, [3, 6, 12, 24, 48, 96])
})

t.test('a start that ended well clears the count; so does one that lasted', async t => {
  await using dir = await temp()
  for (let start = 0; start < 4; start++) await Starts.count(dir.path)
  const last = await Starts.count(dir.path)
  t.equal(last.deaths, 4)
  await last.ended()
  t.equal((await Starts.count(dir.path)).deaths, 0)
  t.equal((await Starts.count(dir.path)).deaths, 1)
  const clock = new ManualClock()
  const lasting = await Starts.count(dir.path)
  lasting.watch(clock)
  clock.advance(lastedMs - 1)
  t.match(await readFile(join(dir.path, 'starts.json'), 'utf8'), '"starts":3')
  clock.advance(1)
  await lasting.settled
  t.equal((await Starts.count(dir.path)).deaths, 0)
})

t.test('a start that failed with an error did not die', async t => {
  await using dir = await temp()
  await Starts.count(dir.path)
  for (let start = 0; start < 5; start++) await (await Starts.count(dir.path)).failed()
  t.equal((await Starts.count(dir.path)).deaths, 1)
})

t.test('damage that was met makes the next start suspicious until it has looked', async t => {
  await using dir = await temp()
  const first = await Starts.count(dir.path)
  await first.damaged()
  await first.ended()
  t.match(await Starts.count(dir.path), { suspicious: true, deaths: 0 })
  const killed = await Starts.count(dir.path)
  t.equal(killed.suspicious, true, 'a look that was cut short is taken again')
  await killed.looked()
  t.equal((await Starts.count(dir.path)).suspicious, false)
})

t.test(
  'a file that is no count is no deaths, and a folder that takes no file is no reason to fail',
  async t => {
    await using dir = await temp()
    for (const text of ['', '{"starts":', '{"starts":"many"}', '[]', 'null']) {
      await writeFile(join(dir.path, 'starts.json'), text)
      t.match(await Starts.count(dir.path), { deaths: 0, suspicious: false })
    }
    t.equal((await Starts.count(join(dir.path, 'absent'))).deaths, 0)
  },
)
