import { execFileSync } from 'node:child_process'
import { cp, mkdir, mkdtempDisposable, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { Level } from 'level'
import t from 'tap'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import type { Backend } from '#store/backend.ts'
import { blockKey, markKey } from '#store/keys.ts'
import { openStore, type StoreOptions } from '#store/open.ts'
import type { Store } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'
import { append, payloads, record, wide } from '../conformance/store-suite.ts'
import { FaultyBackend } from '../fakes/faulty-backend.ts'

const temp = () => mkdtempDisposable(join(tmpdir(), 'fescue-open-'))

/** Options with a boot id that the test chooses. */
async function optionsOf(
  root: string,
  boot = 'boot-1',
  machine = 'machine-1',
): Promise<StoreOptions & { folder: string }> {
  await writeFile(join(root, boot), boot)
  await writeFile(join(root, machine), machine)
  return {
    folder: join(root, 'data'),
    clock: systemClock,
    logger: silentLogger,
    freeDiskMinBytes: 0,
    tailCacheMaxBytes: 0,
    machineFiles: { bootId: join(root, boot), machineIds: [join(root, machine)] },
  }
}

/** Opens a store that can be left as a killed process leaves it: nothing is written any more, the lock is free. */
async function openToKill(options: StoreOptions): Promise<{ store: Store; kill(): Promise<void> }> {
  let backend: Backend | undefined
  let isDead = false
  const store = await openStore({
    ...options,
    wrapBackend: inner => {
      const faulty = new FaultyBackend(inner)
      faulty.failBatch = () => (isDead ? 'hang' : undefined)
      backend = inner
      return faulty
    },
  })
  const kill = async () => {
    isDead = true
    await backend?.close()
  }
  return { store, kill }
}

async function write(store: Store, count = 10): Promise<void> {
  store.log('a', wide)
  await append(
    store,
    'a',
    Array.from({ length: count }, (_, index) => String(index)),
  )
}

t.test('a killed process keeps its epoch, in the same boot', async t => {
  await using dir = await temp()
  const { store, kill } = await openToKill(await optionsOf(dir.path))
  await write(store)
  await kill()
  await using again = await openStore(await optionsOf(dir.path))
  t.same(
    again.epochs.map(entry => entry.reason),
    ['created'],
  )
  t.equal(again.findLog('a')?.end, 10)
})

t.test('an unclean end before another boot begins an epoch that names its predecessor', async t => {
  await using dir = await temp()
  const { store, kill } = await openToKill(await optionsOf(dir.path))
  await write(store)
  await kill()
  await using again = await openStore(await optionsOf(dir.path, 'boot-2'))
  t.same(
    again.epochs.map(entry => entry.reason),
    ['created', 'power-loss'],
  )
  t.match(again.epochs[1], { predecessor: store.epoch, lastKnown: { 'a.2': 10 } })
  await append(again, 'a', ['new'])
  const { records } = await (again.findLog('a') ?? (t.fail() as never)).read(9, {
    maxRecords: 9,
    maxBytes: 999,
  })
  t.same(
    records.map(item => [item.offset, item.epoch]),
    [
      [9, store.epoch],
      [10, again.epoch],
    ],
  )
})

t.test('a clean end before another boot keeps the epoch', async t => {
  await using dir = await temp()
  {
    await using store = await openStore(await optionsOf(dir.path))
    await write(store)
  }
  await using again = await openStore(await optionsOf(dir.path, 'boot-2'))
  t.same(
    again.epochs.map(entry => entry.reason),
    ['created'],
  )
})

t.test('a killed process that gave out records of class memory does not keep its epoch', async t => {
  await using dir = await temp()
  const { store, kill } = await openToKill(await optionsOf(dir.path))
  const log = store.log('a', wide)
  const tx = new Transaction()
  tx.append(log, record('memory'))
  await store.write(tx)
  await kill()
  await using again = await openStore(await optionsOf(dir.path))
  t.equal(again.epochs.at(-1)?.reason, 'power-loss')
})

t.test(
  'a copied folder, and one found on another machine, begin an epoch; a renamed one does not',
  async t => {
    await using dir = await temp()
    const options = await optionsOf(dir.path)
    {
      await using store = await openStore(options)
      await write(store)
    }
    execFileSync('mv', [options.folder, `${options.folder}-renamed`])
    {
      await using store = await openStore({ ...options, folder: `${options.folder}-renamed` })
      t.same(
        store.epochs.map(entry => entry.reason),
        ['created'],
      )
    }
    await cp(`${options.folder}-renamed`, options.folder, { recursive: true })
    {
      await using store = await openStore(options)
      t.same(
        store.epochs.map(entry => entry.reason),
        ['created', 'moved'],
      )
      t.same((await payloads(store, 'a')).length, 10)
    }
    await using store = await openStore(await optionsOf(dir.path, 'boot-1', 'machine-2'))
    t.same(
      store.epochs.map(entry => entry.reason),
      ['created', 'moved', 'moved'],
    )
  },
)

t.test('a newer format is refused before anything is written', async t => {
  await using dir = await temp()
  const options = await optionsOf(dir.path)
  await openStore(options).then(store => store[Symbol.asyncDispose]())
  await writeFile(
    join(options.folder, 'store.json'),
    JSON.stringify({ format: 2, id: 'x', crc: crc32('2 x') }),
  )
  const before = await readdir(join(options.folder, 'level'))
  await t.rejects(openStore(options), { code: 'FESCUE_STORE_FORMAT' })
  t.same(await readdir(join(options.folder, 'level')), before)
})

t.test('a second store on the folder is refused with FESCUE_STORE_LOCKED', async t => {
  await using dir = await temp()
  const options = await optionsOf(dir.path)
  await using store = await openStore(options)
  await t.rejects(openStore(options), { code: 'FESCUE_STORE_LOCKED' })
  await write(store)
})

/** Changes the database of a closed store. */
async function meddle(folder: string, change: (db: Level<Buffer, Buffer>) => Promise<void>): Promise<void> {
  const db = new Level<Buffer, Buffer>(join(folder, 'level'), {
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
  })
  await db.open()
  await change(db)
  await db.close()
}

const flip = (value: Buffer): Buffer => {
  const flipped = Buffer.from(value)
  flipped[flipped.length - 1] = (flipped.at(-1) ?? 0) ^ 1
  return flipped
}

t.test('a damaged block costs its own records; the ledger says so once, over restarts too', async t => {
  await using dir = await temp()
  const options = await optionsOf(dir.path)
  {
    await using store = await openStore(options)
    store.log('a', wide)
    for (let index = 0; index < 10; index++) await append(store, 'a', [String(index)])
  }
  await meddle(options.folder, async db => {
    const key = blockKey(2, 4)
    await db.put(key, flip((await db.get(key)) ?? Buffer.alloc(0)))
    await db.del(blockKey(2, 7))
    await db.del(blockKey(2, 9))
  })
  for (let round = 0; round < 2; round++) {
    await using store = await openStore(options)
    for (let pass = 0; pass < 2; pass++)
      t.same(await payloads(store, 'a'), ['0', '1', '2', '3', '5', '6', '8'])
    await store.sync()
    const entries = (await payloads(store, 'ledger')).map(text => JSON.parse(text))
    t.same(
      entries.map(entry => [entry.reason, entry.from, entry.to, entry.records]),
      [
        ['damaged', 4, 5, 1],
        ['damaged', 7, 8, 1],
        ['damaged', 9, 10, 1],
      ],
    )
    const log = store.findLog('a')
    const { next, lost } = (await log?.read(9, { maxRecords: 1, maxBytes: 1 })) ?? {}
    t.same([next, lost], [10, [{ from: 9, to: 10 }]], 'a damaged end is passed')
  }
})

t.test('a damaged mark is counted anew from the blocks; a damaged descriptor has a copy', async t => {
  await using dir = await temp()
  const options = await optionsOf(dir.path)
  {
    await using store = await openStore(options)
    await write(store)
    await append(store, 'a', ['10'])
    const tx = new Transaction().require('process')
    tx.put('s', 'good', Buffer.from('good'))
    tx.put('s', 'bad', Buffer.from('bad'))
    await store.write(tx)
  }
  await meddle(options.folder, async db => {
    for (const key of [markKey(2), 'La', 'Ds\0bad'].map(text => Buffer.from(text))) {
      await db.put(key, flip((await db.get(key)) ?? Buffer.alloc(0)))
    }
  })
  await using store = await openStore(options)
  t.match(store.findLog('a'), { end: 11, head: 0, records: 11 })
  t.equal((await payloads(store, 'a')).length, 11)
  t.equal(await store.get('s', 'bad'), undefined)
  t.equal((await store.get('s', 'good'))?.toString(), 'good')
  await store.sync()
  const reasons = (await payloads(store, 'ledger'))
    .map(text => JSON.parse(text))
    .map(entry => [entry.log, entry.reason])
  t.same(
    reasons.filter(([log]) => log === 'documents.s'),
    [['documents.s', 'damaged']],
  )
})

t.test(
  'a tail that is missing after a loss of power is reported; leftovers above the mark are not read',
  async t => {
    await using dir = await temp()
    const { store, kill } = await openToKill({ ...(await optionsOf(dir.path)), journal: false })
    store.log('a', wide)
    for (let index = 0; index < 6; index++) await append(store, 'a', [String(index)])
    await kill()
    await meddle(join(dir.path, 'data'), async db => {
      const stray = (await db.get(blockKey(2, 3))) ?? Buffer.alloc(0)
      await db.del(blockKey(2, 5))
      await db.put(blockKey(2, 6), stray)
    })
    await using again = await openStore({ ...(await optionsOf(dir.path, 'boot-2')), journal: false })
    await again.sync()
    const entries = (await payloads(again, 'ledger')).map(text => JSON.parse(text))
    t.match(entries, [{ log: 'a', reason: 'power', from: 5, to: 6, records: 1, epoch: again.epoch }])
    await append(again, 'a', ['6'])
    t.same(await payloads(again, 'a'), ['0', '1', '2', '3', '4', '6'])
  },
)

t.test('the journal gives back what LevelDB lost, after another boot', async t => {
  await using dir = await temp()
  const options = await optionsOf(dir.path)
  const { store, kill } = await openToKill(options)
  store.log('a', wide)
  for (let index = 0; index < 50; index++) await append(store, 'a', [String(index)])
  const tx = new Transaction().require('power')
  tx.put('s', 'k', Buffer.from('v'))
  await store.write(tx)
  await kill()
  // LevelDB's unsynced log is what a cut takes: the newest file of the folder.
  const logs = (await readdir(join(options.folder, 'level'))).filter(name => name.endsWith('.log')).sort()
  await truncate(join(options.folder, 'level', logs.at(-1) ?? ''), 600)
  await using again = await openStore(await optionsOf(dir.path, 'boot-2'))
  t.equal((await payloads(again, 'a')).length, 50)
  t.equal((await again.get('s', 'k'))?.toString(), 'v')
  t.equal(again.stats.lost.power, undefined)
})

t.test('without the manifest LevelDB is repaired, without CURRENT it starts; both are a salvage', async t => {
  for (const victim of ['MANIFEST', 'CURRENT']) {
    await using dir = await temp()
    const options = await optionsOf(dir.path)
    {
      await using store = await openStore(options)
      await write(store, 100)
    }
    const files = await readdir(join(options.folder, 'level'))
    await rm(join(options.folder, 'level', files.find(name => name.startsWith(victim)) ?? ''))
    await using again = await openStore(options)
    t.equal((await payloads(again, 'a')).length, 100, victim)
    t.equal(again.epochs.at(-1)?.reason, 'salvage')
  }
})

t.test('a database that cannot be opened for another reason is left alone', async t => {
  await using dir = await temp()
  const options = await optionsOf(dir.path)
  {
    await using store = await openStore(options)
    await write(store)
  }
  // A full disk, as far as it can be had here: LevelDB cannot make the file that it needs.
  const level = join(options.folder, 'level')
  const current = (await readFile(join(level, 'CURRENT'), 'latin1')).trim()
  const numbers = (await readdir(level))
    .map(name => Number.parseInt(name.replace(/\D+/, ''), 10))
    .filter(Number.isFinite)
  const next = String(Math.max(...numbers) + 1).padStart(6, '0')
  await mkdir(join(level, `MANIFEST-${next}`))
  await mkdir(join(level, `${next}.log`))
  await mkdir(join(level, `${next}.ldb`))
  const before = await readdir(options.folder)
  await t.rejects(openStore(options), { code: 'FESCUE_STORE_FAILED' }, current)
  t.same(await readdir(options.folder), before, 'nothing was put aside')
  for (const name of [`MANIFEST-${next}`, `${next}.log`, `${next}.ldb`])
    await rm(join(level, name), { recursive: true })
  await using again = await openStore(options)
  t.equal((await payloads(again, 'a')).length, 10)
  t.same(
    again.epochs.map(entry => entry.reason),
    ['created'],
  )
})

t.test('a database that cannot be repaired is put aside, never deleted', async t => {
  await using dir = await temp()
  const options = await optionsOf(dir.path)
  await openStore(options).then(store => store[Symbol.asyncDispose]())
  await rm(join(options.folder, 'level'), { recursive: true })
  await writeFile(join(options.folder, 'level'), 'a file where the folder should be')
  await using again = await openStore(options)
  t.equal(again.epochs.at(-1)?.reason, 'salvage')
  t.ok((await readdir(options.folder)).some(name => name.startsWith('level.damaged-')))
  await write(again)
})
