/** The store's suite over both of its databases. */
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import { openStore } from '#store/open.ts'
import { storeSuite } from './store-suite.ts'

const base = { clock: systemClock, logger: silentLogger, freeDiskMinBytes: 0 }

t.test('in memory', async t => {
  storeSuite(t, options => openStore({ ...base, ...options, folder: undefined }))
})

t.test('on LevelDB', async t => {
  const root = await mkdtempDisposable(join(tmpdir(), 'fescue-store-'))
  t.teardown(() => root.remove())
  let folders = 0
  let last = ''
  storeSuite(
    t,
    options => {
      last = join(root.path, String(folders++))
      return openStore({ ...base, ...options, folder: last })
    },
    async store => {
      await store[Symbol.asyncDispose]()
      return openStore({ ...base, folder: last, tailCacheMaxBytes: 0 })
    },
  )
})
