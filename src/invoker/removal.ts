/**
 * Takes out of the store what a function left: on purge, after `detachedKeptMs`, and after a crash in between.
 * What is deleted with messages in it is written to the loss ledger first (D4).
 */
import type { CommitLog } from '#store/commit-log.ts'
import type { Store } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'
import { inboxLogName } from './active-function.ts'
import type { Catalog } from './catalog.ts'
import { deadLetterLogName } from './dead-letter-log.ts'
import { StateSpace } from './state-space.ts'

/** Deletes all that a function left which does not run, its entry too if there is one; the messages deleted. */
export async function removeFunction(store: Store, catalog: Catalog, name: string): Promise<number> {
  const state = await StateSpace.open(store, name)
  const logs = logsOf(store, name)
  const tx = new Transaction().require('power')
  const messages = logs.reduce((sum, log) => sum + stageLoss(tx, log), 0)
  state.clear(tx)
  const entry = catalog.entry(name)
  if (entry !== undefined) catalog.stageRemoval(tx, entry)
  await store.write(tx)
  for (const log of logs) await store.removeLog(log)
  return messages
}

/** Logs that a function of this name has or left. */
export function logsOf(store: Store, name: string): CommitLog[] {
  const found = [store.findLog(inboxLogName(name)), store.findLog(deadLetterLogName(name))]
  return found.filter(log => log !== undefined)
}

/**
 * Removes empty logs without a function: of a first switch that never committed, or of a removal cut in two.
 * Those with messages in them (the entry was damaged) are left to a person; their names.
 */
export async function removeOrphans(store: Store, catalog: Catalog): Promise<string[]> {
  const left: string[] = []
  for (const log of [...store.logs()]) {
    const name = /^(?:inbox|dead)\.(.+)$/.exec(log.name)?.[1]
    if (name === undefined || catalog.entry(name) !== undefined) continue
    if (log.records === 0) await store.removeLog(log)
    else left.push(name)
  }
  return left
}

function stageLoss(tx: Transaction, log: CommitLog): number {
  const { records, head, end } = log
  if (records === 0) return 0
  tx.lose(log, { from: head, to: end }, records, 'purged')
  // After a crash before the log is removed it is empty, and not lost a second time.
  tx.truncate(log, end)
  return records
}
