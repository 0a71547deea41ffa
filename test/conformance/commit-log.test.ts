/** Append, read, truncate and restart of a commit log against a model, over both databases. */
import assert from 'node:assert/strict'
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import type { CommitLog, LogLimits } from '#store/commit-log.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'
import { type Durability, Transaction } from '#store/transaction.ts'
import { record } from './store-suite.ts'

type Action =
  | { readonly type: 'append'; readonly sizes: readonly number[]; readonly durability: Durability }
  | { readonly type: 'truncate'; readonly share: number }
  | { readonly type: 'read'; readonly share: number; readonly maxRecords: number; readonly maxBytes: number }
  | { readonly type: 'settle' }
  | { readonly type: 'restart' }

const share = fc.double({ min: 0, max: 1, noNaN: true })
const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      type: fc.constant('append' as const),
      sizes: fc.array(fc.oneof(fc.nat(300), fc.nat(70_000)), { minLength: 1, maxLength: 8 }),
      durability: fc.constantFrom('memory' as const, 'process' as const, 'power' as const),
    }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('truncate' as const), share }) },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant('read' as const),
      share,
      maxRecords: fc.integer({ min: 1, max: 20 }),
      maxBytes: fc.integer({ min: 1, max: 200_000 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('settle' as const) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('restart' as const) }) },
)

/** What the log should hold: the payload's text of each offset ever given, and the lowest that may be kept. */
class Model {
  readonly texts: string[] = []
  head = 0
}

const textOf = (offset: number, size: number): string =>
  `${offset} `.padEnd(size, String.fromCharCode(97 + (offset % 26)))

async function check(log: CommitLog, model: Model, act: Action & { type: 'read' }): Promise<void> {
  const from = Math.floor(act.share * (model.texts.length + 2))
  const end = log.end
  const { records, next, lost } = await log.read(from, act)
  assert.deepEqual(lost, [])
  let expected = Math.max(from, log.head)
  let bytes = 0
  for (const [index, item] of records.entries()) {
    if (index === 0) expected = Math.max(expected, item.offset)
    assert.equal(item.offset, expected, 'dense')
    assert.equal(item.payload.toString(), model.texts[item.offset])
    bytes += item.payload.length
    expected += 1
  }
  assert.ok(records.length <= act.maxRecords)
  assert.ok(records.length <= 1 || bytes <= act.maxBytes)
  if (Math.max(from, log.head) < end) {
    assert.ok(records.length > 0, 'something is given as long as something is there')
    assert.equal(next, expected)
  }
}

async function play(
  actions: readonly Action[],
  limits: LogLimits,
  open: (again: boolean) => Promise<Store>,
): Promise<void> {
  let store = await open(false)
  const model = new Model()
  const pending: Promise<void>[] = []
  try {
    for (const act of actions) {
      const log = store.log('a', limits)
      if (act.type === 'append') {
        const tx = new Transaction().require(act.durability)
        for (const size of act.sizes) {
          const text = textOf(model.texts.length, size)
          model.texts.push(text)
          tx.append(log, record(text))
        }
        pending.push(store.write(tx))
      } else if (act.type === 'truncate') {
        const to = Math.floor(act.share * (model.texts.length + 1))
        model.head = Math.max(model.head, Math.min(to, model.texts.length))
        const tx = new Transaction().require('process')
        tx.truncate(log, to)
        pending.push(store.write(tx))
      } else if (act.type === 'read') {
        await check(log, model, act)
      } else {
        await Promise.all(pending.splice(0))
        assert.equal(log.end, model.texts.length)
        assert.ok(log.head >= Math.min(model.head, log.end))
        assert.equal(log.records, log.end - log.head, 'records are counted exactly')
        if (limits.overflow === 'block') assert.equal(log.head, Math.min(model.head, log.end))
        else assert.ok(log.bytes <= limits.maxBytes + 80_000, `${log.bytes} bytes`)
        if (act.type === 'restart') {
          const { records, head, end } = log
          await store[Symbol.asyncDispose]()
          store = await open(true)
          const found = store.log('a', limits)
          assert.deepEqual([found.records, found.head, found.end], [records, head, end])
        }
      }
    }
    await Promise.all(pending)
  } finally {
    await store[Symbol.asyncDispose]()
  }
}

const cases: { name: string; limits: LogLimits; tailCacheMaxBytes: number }[] = [
  { name: 'from memory', limits: { maxBytes: 1e9, overflow: 'block' }, tailCacheMaxBytes: 1e9 },
  { name: 'from disk', limits: { maxBytes: 1e9, overflow: 'block' }, tailCacheMaxBytes: 0 },
  { name: 'with a small cache', limits: { maxBytes: 1e9, overflow: 'block' }, tailCacheMaxBytes: 50_000 },
  { name: 'drop-oldest', limits: { maxBytes: 200_000, overflow: 'drop-oldest' }, tailCacheMaxBytes: 50_000 },
]

for (const { name, limits, tailCacheMaxBytes } of cases) {
  t.test(`${name}: a log reads as its model`, async t => {
    await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-model-'))
    let folders = 0
    const base = { clock: systemClock, logger: silentLogger, freeDiskMinBytes: 0, tailCacheMaxBytes }
    const options = { journalSegmentBytes: 512 * 1024, writeBufferBytes: 256 * 1024 }
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 30 }), async actions => {
        const withoutRestart = actions.map(act =>
          act.type === 'restart' ? { type: 'settle' as const } : act,
        )
        await play(withoutRestart, limits, () => openStore({ ...base, folder: undefined }))
        const folder = join(dir.path, String(folders++))
        await play(actions, limits, () => openStore({ ...base, ...options, folder }))
      }),
      { numRuns: 15 },
    )
    t.pass(`${folders} plays`)
  })
}
