import { mkdtempDisposable, readdir, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { cachedTexts } from '#sandbox/text-cache.ts'

t.test('texts are made once for the same sources, and anew for others', async t => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-texts-'))
  const folder = join(dir.path, 'cache')
  let made = 0
  const texts = (...sources: string[]) =>
    cachedTexts(folder, sources, () => ({ program: `${sources} ${++made}` }))
  t.same(texts('a', 'b'), { program: 'a,b 1' })
  t.same(texts('a', 'b'), { program: 'a,b 1' })
  t.same(texts('ab'), { program: 'ab 2' }, 'the border between sources counts')
  t.equal((await readdir(folder)).length, 1, 'only the newest is kept')
})

t.test('a damaged or forbidden cache costs only time', async t => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-texts-'))
  const make = () => ({ program: 'made' })
  cachedTexts(dir.path, ['x'], make)
  const [name = ''] = await readdir(dir.path)
  await writeFile(join(dir.path, name), '{"program":')
  t.same(cachedTexts(dir.path, ['x'], make), { program: 'made' })
  t.same(cachedTexts(join(dir.path, name, 'below-a-file'), ['x'], make), { program: 'made' })
  t.same(cachedTexts(undefined, ['x'], make), { program: 'made' })
})
