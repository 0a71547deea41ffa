/**
 * Puts what LevelDB lost, and the journal has, back into LevelDB at open.
 *
 *   journal   [ 101 102 103 104 105 ]
 *   ring      [ 101  ·  103  ·   ·  ]   batches that LevelDB proves to hold
 *                    └────────────► 102 … 105 are put again, in order
 *
 * Batches are puts and deletes, so putting them again from the first that is missing up to the last gives what
 * the last one left, whatever survived in between. After a kill only the newest can be missing: LevelDB's own
 * log is in the page cache. After a loss of power anything unsynced may be, also in the middle.
 */
import type { Backend, BackendOperation } from './backend.ts'
import type { Journal, JournalBatch } from './journal.ts'
import { batchRingSlots } from './keys.ts'
import type { OpenedDatabase } from './opened-database.ts'
import { type Ring, readRing } from './recovery.ts'
import { isSameBoot, type Run } from './run-marker.ts'

/** Operations are put back in batches of this size, each synced: the journal is obsolete afterwards. */
const replayBatchBytes = 1024 * 1024

/** Returns the number of the last batch that the database holds afterwards. `salvaged`: it may lack anything. */
export async function replayJournal(
  { backend, journal, place }: Pick<OpenedDatabase, 'backend' | 'journal' | 'place'>,
  last: Run | undefined,
  salvaged: boolean,
): Promise<number> {
  const ring = await readRing(backend)
  if (journal === undefined) return ring.last
  // Without a word of the last run all that the journal has is taken for needed, if there was one.
  if (last === undefined && !salvaged) return ring.last
  const firstBatch = last?.firstBatch ?? 0
  // What the page cache had cannot be missing in the same boot; a hole there is a damaged log of LevelDB's.
  const trusted = last !== undefined && isSameBoot(last, place) && !salvaged && isWhole(ring, last)
  if (trusted && last.clean) return ring.last
  const firstMissing = await findMissing(journal, firstBatch, ring, trusted)
  if (firstMissing === undefined) return ring.last
  return Math.max(ring.last, await putAgain(backend, journal, firstMissing))
}

/** Whether the ring has no hole among the batches of the last run. */
function isWhole(ring: Ring, last: Run): boolean {
  const lowest = Math.max(last.firstBatch, ring.last - batchRingSlots + 1)
  for (let number = lowest; number <= ring.last; number++) if (!ring.holds(number)) return false
  return true
}

async function findMissing(
  journal: Journal,
  firstBatch: number,
  ring: Ring,
  trusted: boolean,
): Promise<number | undefined> {
  // Older numbers have left the ring. What they wrote has left LevelDB's write buffers long since, and putting it
  // again would set back what LevelDB holds beyond the end of the journal.
  const lowest = ring.last - batchRingSlots
  for await (const { number } of journal.batches(firstBatch)) {
    const isMissing = number > (trusted ? ring.last : lowest) && !ring.holds(number)
    if (isMissing) return number
  }
  return undefined
}

async function putAgain(backend: Backend, journal: Journal, from: number): Promise<number> {
  let operations: BackendOperation[] = []
  let bytes = 0
  let last = from
  for await (const batch of journal.batches(from)) {
    operations.push(...batch.operations)
    bytes += bytesOf(batch)
    last = batch.number
    if (bytes < replayBatchBytes) continue
    await backend.batch(operations, true)
    operations = []
    bytes = 0
  }
  if (operations.length > 0) await backend.batch(operations, true)
  return last
}

function bytesOf(batch: JournalBatch): number {
  return batch.operations.reduce(
    (sum, operation) => sum + operation.key.length + (operation.type === 'put' ? operation.value.length : 0),
    0,
  )
}
