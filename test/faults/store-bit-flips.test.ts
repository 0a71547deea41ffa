/** Single flipped bits and cut files: the store starts, gives no wrong value, and reports what is gone. */
import { cp, mkdtempDisposable, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import { openStore, type StoreOptions } from '#store/open.ts'
import type { LedgerEntry } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'
import { payloads, record, wide } from '../conformance/store-suite.ts'

const count = 3_000
const textOf = (index: number): string => `record ${index} `.padEnd(120, String(index % 10))

const optionsOf = (folder: string): StoreOptions => ({
  folder,
  clock: systemClock,
  logger: silentLogger,
  freeDiskMinBytes: 0,
  tailCacheMaxBytes: 0,
  writeBufferBytes: 128 * 1024,
  journalSegmentBytes: 128 * 1024,
})

async function fill(folder: string): Promise<void> {
  await using store = await openStore(optionsOf(folder))
  const log = store.log('a', wide)
  for (let from = 0; from < count; from += 20) {
    const tx = new Transaction().require('process')
    for (let index = from; index < from + 20; index++) tx.append(log, record(textOf(index)))
    tx.put('s', `k${from}`, Buffer.from(`value ${from}`))
    await store.write(tx)
  }
}

interface Verdict {
  readonly wrong: number
  readonly missing: number
  readonly explained: number
}

/** Reads all; `missing` counts records that are not there, `explained` those of them that the ledger names. */
async function judge(folder: string): Promise<Verdict> {
  await using store = await openStore(optionsOf(folder))
  const log = store.findLog('a')
  let wrong = 0
  const seen = new Set<number>()
  for (let at = log?.head ?? 0; log !== undefined && at < log.end; ) {
    const { records, next } = await log.read(at, { maxRecords: 1_000, maxBytes: 1e7 })
    if (next <= at) throw new Error(`stands still at ${at}`)
    for (const item of records) {
      seen.add(item.offset)
      if (item.payload.toString() !== textOf(item.offset)) wrong += 1
    }
    at = next
  }
  for (let from = 0; from < count; from += 20) {
    const value = await store.get('s', `k${from}`)
    if (value !== undefined && value.toString() !== `value ${from}`) wrong += 1
  }
  await store.sync()
  const entries: LedgerEntry[] = (await payloads(store, 'ledger')).map(text => JSON.parse(text))
  let missing = 0
  let explained = 0
  for (let offset = 0; offset < (log?.end ?? 0); offset++) {
    if (seen.has(offset)) continue
    missing += 1
    if (entries.some(entry => entry.log === 'a' && offset >= entry.from && offset < entry.to)) explained += 1
  }
  return { wrong, missing, explained }
}

/** All files of a store with their sizes. */
async function files(folder: string): Promise<{ path: string; size: number }[]> {
  const names = (await readdir(folder, { recursive: true })).filter(name => !name.endsWith('LOCK'))
  const found = await Promise.all(
    names.map(async name => ({ path: name, info: await stat(join(folder, name)) })),
  )
  return found
    .filter(file => file.info.isFile() && file.info.size > 0)
    .map(file => ({ path: file.path, size: file.info.size }))
}

t.test('60 flipped bits over all files: no wrong value, each missing record is explained', async t => {
  const seed = Math.floor(Math.random() * 2 ** 31)
  let state = seed
  const random = () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
    return state / 2 ** 31
  }
  await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-flips-'))
  await fill(join(dir.path, 'whole'))
  const all = (await files(join(dir.path, 'whole'))).filter(file => !file.path.endsWith('LOG'))
  let damaged = 0
  for (let round = 0; round < 60; round++) {
    const folder = join(dir.path, `flip-${round}`)
    await cp(join(dir.path, 'whole'), folder, { recursive: true })
    const { path } = all[Math.floor(random() * all.length)] ?? { path: '' }
    const bytes = await readFile(join(folder, path))
    const at = Math.floor(random() * bytes.length)
    bytes[at] = (bytes[at] ?? 0) ^ (1 << Math.floor(random() * 8))
    await writeFile(join(folder, path), bytes)
    const verdict = await judge(folder)
    if (verdict.missing > 0) damaged += 1
    if (verdict.wrong > 0 || verdict.explained < verdict.missing) {
      t.fail(`seed ${seed} round ${round}: ${path} byte ${at}: ${JSON.stringify(verdict)}`)
    }
    await rm(folder, { recursive: true })
  }
  t.pass(`seed ${seed}: ${damaged} of 60 cost records`)
})

t.test('each file removed or cut in turn: the store starts and gives no wrong value', async t => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-cut-'))
  await fill(join(dir.path, 'whole'))
  for (const { path, size } of await files(join(dir.path, 'whole'))) {
    for (const damage of ['removed', 'halved', 'cut by 3'] as const) {
      const folder = join(dir.path, 'damaged')
      await cp(join(dir.path, 'whole'), folder, { recursive: true })
      if (damage === 'removed') await rm(join(folder, path))
      else
        await truncate(join(folder, path), damage === 'halved' ? Math.floor(size / 2) : Math.max(0, size - 3))
      const verdict = await judge(folder).catch(error => String(error))
      t.match(verdict, { wrong: 0 }, `${path} ${damage}: ${JSON.stringify(verdict)}`)
      await rm(folder, { recursive: true })
    }
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
    const at = Math.floor(bytes.length / 3)
    bytes[at] = (bytes[at] ?? 0) ^ 0xff
    await writeFile(join(level, name), bytes)
  }
  await using store = await openStore(optionsOf(dir.path))
  const log = store.log('b', wide)
  for (let round = 0; round < 300; round++) {
    const tx = new Transaction().require('power')
    for (let index = 0; index < 20; index++) tx.append(log, record(textOf(index)))
    tx.put('s', `k${round * 20}`, Buffer.from(`value ${round * 20}`))
    await store.write(tx)
  }
  t.equal((await payloads(store, 'b')).length, 6_000)
  t.same(store.health, { state: 'ok' })
})
