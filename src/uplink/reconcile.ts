/**
 * What a link does with the receiver's numbers when it connects: skip what is there already, and find out that
 * this folder is not the only one that sent under its epochs.
 *
 *   number below or at our checkpoint   nothing to skip
 *   between checkpoint and end          skip up to it, if the record before it is the one that we hold
 *   above what we have of that epoch    the folder was set back while it ran: a ledger entry, a new epoch
 *   followed by an epoch not of ours    the folder was rolled back, or a copy of it sent: a ledger entry
 *
 * Every start of a daemon begins a new epoch before it appends, so a copied or rolled-back folder gives its new
 * records ids that no other copy can give, however long it is offline. What it holds from before are the same
 * records that the receiver knows by the same ids; those are dropped there as the duplicates they are. A
 * process that was itself set back (a virtual machine resumed from a snapshot) goes on in an epoch that is
 * used up: it shows by a number or by a message id that is not ours, and then all that was not acknowledged
 * here counts to a new epoch (D9: rather twice under two ids than never).
 */
import type { Offset } from '#base/ids.ts'
import type { Logger } from '#base/logger.ts'
import type { CommitLog } from '#store/commit-log.ts'
import type { Store } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'
import type { ReceiverNumber } from './connector.ts'
import { type Outbox, uplinkSpace } from './outbox.ts'

/** Epochs of the store that the receiver is asked for, newest first; those of pending records come besides. */
const epochsAskedMax = 8

export interface ReconcileOptions {
  readonly store: Store
  readonly logger: Logger
  readonly outboxes: readonly Outbox[]
}

/** The epochs that matter: recent ones, the last acknowledged and that of the first pending record. */
export async function epochsToAsk({ store, outboxes }: ReconcileOptions): Promise<string[]> {
  const epochs = new Set(store.epochs.slice(-epochsAskedMax).map(entry => entry.epoch))
  for (const outbox of outboxes) {
    if (outbox.after !== undefined) epochs.add(outbox.after)
    const first = await outbox.peek(outbox.low)
    if (first !== undefined) epochs.add(first.epoch)
  }
  return [...epochs]
}

/** Epochs that follow one of ours and are not ours: what they hold is asked for as well. */
export function strangers(numbers: readonly ReceiverNumber[], { store }: ReconcileOptions): string[] {
  const own = new Set(store.epochs.map(entry => entry.epoch))
  const asked = new Set(numbers.map(number => number.epoch))
  const following = numbers.flatMap(number => number.followers.map(({ epoch }) => epoch))
  return [...new Set(following)].filter(epoch => !own.has(epoch) && !asked.has(epoch))
}

/** Applies the receiver's numbers to the outboxes. */
export async function reconcile(
  numbers: readonly ReceiverNumber[],
  { store, logger, outboxes }: ReconcileOptions,
): Promise<void> {
  const setBack = new Map<CommitLog, Offset>()
  for (const outbox of outboxes) {
    const own = numbers.filter(number => number.log === outbox.key)
    if (outbox.after !== undefined && !own.some(number => number.epoch === outbox.after)) outbox.forgetAfter()
    await noteStrangers(store, outbox, own, logger)
    const current = own.find(number => number.epoch === store.epoch)
    const isAhead = current !== undefined && current.next > outbox.log.end
    if (isAhead)
      await note(store, outbox, { epoch: current.epoch, from: outbox.log.end, to: current.next }, logger)
    if (isAhead || !(await skipKnown(outbox, own))) setBack.set(outbox.log, outbox.low)
  }
  if (setBack.size > 0) {
    const epoch = await store.startEpoch('rollback', setBack)
    logger.warn(
      { epoch, logs: [...setBack.keys()].map(log => log.name) },
      'a new epoch began: the cloud is ahead',
    )
  }
  for (const outbox of outboxes) outbox.rewind()
}

/** Skips what the receiver has; false when the record before its number is not the one we hold. */
async function skipKnown(outbox: Outbox, numbers: readonly ReceiverNumber[]): Promise<boolean> {
  const first = await outbox.peek(outbox.low)
  const number = numbers.find(candidate => candidate.epoch === first?.epoch)
  if (number === undefined || number.next <= outbox.low) return true
  const last = await outbox.peek(number.next - 1)
  if (last === undefined || last.offset !== number.next - 1 || last.epoch !== number.epoch) return true
  const isOurs =
    last.messageId === undefined ||
    number.lastMessageId === undefined ||
    last.messageId === number.lastMessageId
  if (isOurs) await outbox.acknowledge(number.next, number.epoch)
  return isOurs
}

/** An epoch of another copy of this folder that began after one of ours. */
async function noteStrangers(
  store: Store,
  outbox: Outbox,
  numbers: readonly ReceiverNumber[],
  logger: Logger,
): Promise<void> {
  const own = new Set(store.epochs.map(entry => entry.epoch))
  for (const { followers } of numbers.filter(number => own.has(number.epoch))) {
    for (const { epoch, at } of followers.filter(follower => !own.has(follower.epoch))) {
      const next = numbers.find(number => number.epoch === epoch)?.next ?? at
      await note(store, outbox, { epoch, from: at, to: Math.max(at, next) }, logger)
    }
  }
}

/** One ledger entry for each epoch and log; a document remembers that it is written. */
async function note(
  store: Store,
  outbox: Outbox,
  { epoch, from, to }: { epoch: string; from: Offset; to: Offset },
  logger: Logger,
): Promise<void> {
  const key = `rollback/${epoch}/${outbox.key}`
  if (outbox.kind === 'loss' || (await store.get(uplinkSpace, key)) !== undefined) return
  logger.warn(
    { log: outbox.key, epoch, records: to - from },
    'the cloud has records that this data folder has not: it was rolled back, or a copy of it sent them',
  )
  const tx = new Transaction().require('power')
  tx.lose(outbox.log, { from, to }, to - from, 'rollback')
  tx.put(uplinkSpace, key, Buffer.from(String(to)))
  await store.write(tx)
}
