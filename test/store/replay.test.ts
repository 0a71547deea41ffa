/** What is put back from the journal, and what is left alone. */
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { BackendOperation } from '#store/backend.ts'
import { Journal } from '#store/journal.ts'
import { batchNumberKey, batchRingSlots } from '#store/keys.ts'
import { MemoryBackend } from '#store/memory-backend.ts'
import { replayJournal } from '#store/replay.ts'
import type { Run } from '#store/run-marker.ts'
import { seal } from '#store/values.ts'

const place = (boot: string) => ({ boot, machine: 'machine', file: 'file' })
const run = (firstBatch: number): Run => ({ place: place('before'), clean: false, batch: 0, firstBatch })

/** The operations of a batch: what it says, and its number in the ring. */
function operationsOf(number: number, text = `${number}`): BackendOperation[] {
  const slot = batchNumberKey(number)
  const value = Buffer.alloc(6)
  value.writeUIntBE(number, 0, 6)
  return [
    { type: 'put', key: Buffer.from('Dlast'), value: Buffer.from(text) },
    { type: 'put', key: Buffer.from(slot), value: seal(slot, value) },
  ]
}

async function replayed(journaled: readonly number[], held: readonly number[], firstBatch = 1) {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-replay-'))
  const journal = await Journal.open({ folder: dir.path, keepBytes: 12 * 1024 * 1024 })
  for (const number of journaled) await journal.append(number, operationsOf(number), false)
  await journal.close()
  const backend = new MemoryBackend()
  for (const number of held) await backend.batch(operationsOf(number), false)
  const again = await Journal.open({ folder: dir.path, keepBytes: 12 * 1024 * 1024 })
  const last = await replayJournal({ backend, place: place('now'), journal: again }, run(firstBatch), false)
  await again.close()
  return { last, text: (await backend.get(Buffer.from('Dlast')))?.toString() }
}

const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, index) => from + index)

t.test('what LevelDB lacks is put back, from the first that is missing', async t => {
  t.same(await replayed(range(1, 11), range(1, 6)), { last: 10, text: '10' })
  t.same(await replayed(range(1, 11), [1, 2, 3, 5, 6]), { last: 10, text: '10' })
})

t.test('what LevelDB holds beyond the end of the journal is not set back', async t => {
  t.same(await replayed(range(1, 11), range(1, 13)), { last: 12, text: '12' })
})

t.test('batches that have left the ring of numbers are not taken for missing', async t => {
  const end = batchRingSlots + 100
  t.same(await replayed(range(1, end), range(1, end + 2)), { last: end + 1, text: `${end + 1}` })
})
