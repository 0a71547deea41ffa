/** What is done about a damaged database: mended in place, rebuilt or put aside, and cut short at any step. */
import { cp, mkdir, mkdtempDisposable, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import t from 'tap'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import { openStore } from '#store/open.ts'
import { examine } from '#store/salvage/examine.ts'
import { probe } from '#store/salvage/probe.ts'
import { rebuild } from '#store/salvage/rebuild.ts'
import { asideFoldersMax, lookThrough, renew } from '#store/salvage/salvage.ts'
import { noteText, readNote, rebuiltFolder, type SalvageNote } from '#store/salvage-note.ts'
import { fill, judge, optionsOf } from '../../fakes/numbered-store.ts'

const temp = () => mkdtempDisposable(join(tmpdir(), 'fescue-salvage-'))
const whole = { wrong: 0, missing: 0, withoutDocument: 0 }

async function filled(root: string): Promise<{ folder: string; level: string; tables: string[] }> {
  const folder = join(root, 'store')
  await fill(folder)
  const level = join(folder, 'level')
  const tables = (await readdir(level)).filter(name => name.endsWith('.ldb')).map(name => join(level, name))
  return { folder, level, tables }
}

async function change(path: string, edit: (bytes: Buffer) => void): Promise<void> {
  const bytes = await readFile(path)
  edit(bytes)
  await writeFile(path, bytes)
}

/** The second byte of an entry's head in the first block: a key so long that LevelDB's order is gone, or its block. */
const flipKey = (path: string) =>
  change(path, bytes => {
    bytes[12] = (bytes[12] ?? 0) ^ 0x10
  })

const optionsFor = (level: string) => ({ folder: level, clock: systemClock, logger: silentLogger })
const suspicion = { deaths: 3, onDamaged: async () => {} }

t.test('a database in which nothing is wrong is left alone', async t => {
  await using dir = await temp()
  const { folder, level } = await filled(dir.path)
  const before = await readdir(folder)
  t.match(await examine(level, systemClock), { isBeyondBits: false, findings: { flips: [], lostBlocks: 0 } })
  t.equal(await lookThrough(optionsFor(level), suspicion), undefined)
  t.same(await readdir(folder), before)
  t.match(await judge(folder, { compact: false }), { ...whole, salvage: undefined })
})

t.test('flipped bits are set right in place; the files as they were are kept', async t => {
  await using dir = await temp()
  const { folder, level, tables } = await filled(dir.path)
  const right = await Promise.all(tables.map(path => readFile(path)))
  for (const path of tables) await flipKey(path)
  const wrong = await readFile(tables[0] ?? '')
  let told = 0
  const note = await lookThrough(optionsFor(level), {
    deaths: 3,
    onDamaged: async () => {
      told += 1
      t.same(await readFile(tables[0] ?? ''), wrong, 'it is noted before anything is changed')
    },
  })
  t.equal(told, 1)
  t.match(note, { kind: 'mended', mendedBits: tables.length, lostBlocks: 0 })
  t.same(await Promise.all(tables.map(path => readFile(path))), right)
  const aside = join(folder, note?.aside ?? '')
  t.equal((await readdir(aside)).length, tables.length)
  t.match(await judge(folder, { compact: true }), { ...whole, salvage: { kind: 'mended' } })
  await rm(aside, { recursive: true })
  t.equal(await readNote(level), undefined, 'with the folder the note is gone')
})

t.test('a block that is lost costs its own entries, and a new epoch; the ledger has it', async t => {
  await using dir = await temp()
  const { folder, level, tables } = await filled(dir.path)
  const [documents] = tables.slice(-1)
  await change(documents ?? '', bytes => bytes.fill(0xaa, 50, 90))
  const note = await lookThrough(optionsFor(level), suspicion)
  t.match(note, { kind: 'rebuilt', lostBlocks: 1 })
  t.same((await readdir(join(folder, note?.aside ?? ''))).includes('CURRENT'), true, 'the old one is kept')
  const verdict = await judge(folder, { compact: true })
  t.match(verdict, { wrong: 0, salvage: { kind: 'rebuilt' } })
  t.equal(verdict.missing, verdict.explained)
  t.ok(verdict.missing + verdict.withoutDocument < 100)
})

t.test('a database that another process uses is not touched', async t => {
  await using dir = await temp()
  const { folder, level, tables } = await filled(dir.path)
  await using _store = await openStore(optionsOf(folder))
  for (const path of tables) await flipKey(path).catch(() => {})
  t.equal(await lookThrough(optionsFor(level), suspicion), undefined)
  t.notOk((await readdir(folder)).some(name => name.startsWith('level.')))
})

t.test('a disk without room for a second database: it is put aside whole, and said so', async t => {
  await using dir = await temp()
  const { folder, level } = await filled(dir.path)
  const full = { ...optionsFor(level), freeBytes: async () => 0 }
  await t.rejects(renew({ ...full, isInUse: true }, 'a test'), { message: /free \d+ bytes of disk/ })
  t.equal((await readdir(level)).includes('CURRENT'), true, 'a store that runs keeps what it has')
  const note = await renew(full, 'a test')
  t.match(note, { kind: 'put-aside' })
  t.ok((note.missingBytes ?? 0) > 1_000_000)
  t.match(noteText(note, folder), `A new one needs ${note.missingBytes} bytes more disk`)
  await using store = await openStore(optionsOf(folder))
  t.equal(store.epochs.at(-1)?.reason, 'salvage')
})

t.test('a salvage that was cut short is finished, or begun again', async t => {
  await using dir = await temp()
  const { folder, level } = await filled(dir.path)
  const aside = 'level.damaged-now'
  const note: SalvageNote = {
    kind: 'rebuilt',
    time: 0,
    aside,
    cause: 'a test',
    blocks: 1,
    mendedBits: 0,
    lostBlocks: 1,
    lostBytes: 1,
    lostMixedBlocks: 1,
    entries: 1,
  }
  await t.test('between the two moves', async t => {
    await rebuild(level, rebuiltFolder(level))
    await rename(level, join(folder, aside))
    await writeFile(join(folder, 'salvage.json'), JSON.stringify(note))
    await using store = await openStore(optionsOf(folder))
    t.match(store.lastSalvage, note)
    t.equal(store.epochs.at(-1)?.reason, 'salvage')
    await store.sync()
    t.match(store.stats.lost, { damaged: 1 }, 'the ledger is told by the start that finishes it')
  })
  t.match(await judge(folder, { compact: false }), whole)
  await t.test('while it was reading', async t => {
    await cp(level, rebuiltFolder(level), { recursive: true })
    await rm(join(rebuiltFolder(level), 'CURRENT'))
    await mkdir(join(rebuiltFolder(level), 'half'))
    t.match(await judge(folder, { compact: false }), whole, 'what was half done is not taken')
    t.match(await renew(optionsFor(level), 'a test'), { kind: 'rebuilt', lostBlocks: 0 })
    t.notOk((await readdir(level)).includes('half'))
    t.match(await judge(folder, { compact: false }), whole)
  })
})

t.test('a probe tells a database that ends its process from one that does not', async t => {
  await using dir = await temp()
  const { level } = await filled(dir.path)
  t.match(await probe(level), { survived: true })
  t.match(await probe(join(dir.path, 'absent')), { survived: true })
  t.match(await probe(level, 1), { survived: true }, 'one that takes too long proves nothing')
  // The probe compacted that one: there is nothing left to be compacted in it.
  const other = await filled(join(dir.path, 'other'))
  const [table = ''] = other.tables
  let died = false
  for (let at = 3; at < 40 && !died; at++) {
    const copy = join(dir.path, `copy-${at}`)
    await cp(other.level, copy, { recursive: true })
    await change(join(copy, basename(table)), bytes => {
      bytes[at] = (bytes[at] ?? 0) ^ 0x10
    })
    const { survived, words } = await probe(copy)
    died = !survived
    if (died) t.match(words, /Assertion|ended with/)
  }
  t.ok(died, 'a flipped bit in a key ended it')
})

t.test('D6: of the folders with damaged files the newest stay', async t => {
  await using dir = await temp()
  const { folder, level, tables } = await filled(dir.path)
  const old = Array.from(
    { length: asideFoldersMax + 2 },
    (_, n) => `level.damaged-2026-01-0${n + 1}T000000.000Z`,
  )
  for (const name of old) await mkdir(join(folder, name))
  for (const path of tables) await flipKey(path)
  const note = await lookThrough(optionsFor(level), suspicion)
  const left = (await readdir(folder)).filter(name => name.startsWith('level.damaged-')).sort()
  t.same(left, [...old.slice(-(asideFoldersMax - 1)), note?.aside])
})
