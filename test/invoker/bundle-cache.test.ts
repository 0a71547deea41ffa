import { mkdir, mkdtempDisposable, readdir, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { BundleCache, cacheEntriesMax, folderMaxFiles, hashFolder } from '#invoker/bundle-cache.ts'

const folder = () => mkdtempDisposable(join(tmpdir(), 'cache-'))

t.test('the hash of a folder covers names and bytes, not node_modules, dot files and backups', async t => {
  await using dir = await folder()
  await writeFile(join(dir.path, 'index.ts'), 'a')
  const first = await hashFolder(dir.path)
  await mkdir(join(dir.path, 'node_modules'))
  for (const name of ['node_modules/x.js', '.index.ts.swp', 'index.ts~'])
    await writeFile(join(dir.path, name), 'x')
  t.equal(await hashFolder(dir.path), first)
  await writeFile(join(dir.path, 'lib.ts'), '')
  t.not(await hashFolder(dir.path), first)
})

t.test('entries are bounded: the oldest go first', async t => {
  await using dir = await folder()
  const source = join(dir.path, 'f')
  const kept = join(dir.path, 'bundles')
  await mkdir(source)
  const cache = new BundleCache(kept)
  for (let i = 0; i < cacheEntriesMax + 3; i++) {
    await writeFile(join(source, 'index.ts'), String(i))
    await cache.keep(source, 'index.ts', { code: String(i), map: undefined }, ['index.ts'])
  }
  t.equal((await readdir(kept)).length, cacheEntriesMax)
  t.same(await cache.find(source, 'index.ts'), { code: String(cacheEntriesMax + 2), map: undefined })
})

t.test('a damaged entry is as good as none', async t => {
  await using dir = await folder()
  const source = join(dir.path, 'f')
  const kept = join(dir.path, 'bundles')
  await mkdir(source)
  await writeFile(join(source, 'index.ts'), '1')
  const cache = new BundleCache(kept)
  await cache.keep(source, 'index.ts', { code: '1', map: undefined }, ['index.ts'])
  const [name = ''] = await readdir(kept)
  await writeFile(join(kept, name), '{"code": "1')
  t.equal(await cache.find(source, 'index.ts'), undefined)
})

t.test('a folder with too many files is refused', async t => {
  await using dir = await folder()
  for (let i = 0; i <= folderMaxFiles; i++) await writeFile(join(dir.path, `${i}.txt`), '')
  await t.rejects(hashFolder(dir.path), { code: 'FESCUE_BUNDLE_FAILED', message: /more than 1000 files/ })
})
