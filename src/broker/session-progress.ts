/**
 * How far the client of one session is: what it acknowledged and what it received, and their way to disk.
 *
 * - checkpoint `done` (D3): PUBACK or PUBCOMP came. Class `process`; the log is truncated with it. Lost with
 *   the power: the message is sent once more, which QoS 1 allows and QoS 2 settles by its id.
 * - checkpoint `received`: PUBREC came. Class `power` before PUBREL goes out: were it forgotten after, the
 *   client, which has dropped the id, would take the PUBLISH for a new message.
 *
 * One commit at a time: what comes meanwhile waits and goes with the next, so a burst of acknowledgements is
 * one batch and a slow disk makes batches larger, not more.
 */
import type { Offset } from '#base/ids.ts'
import { Checkpoint, type CheckpointState } from '#store/checkpoint.ts'
import type { CommitLog } from '#store/commit-log.ts'
import type { Store } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'
import { doneConsumer, receivedConsumer } from './session-documents.ts'

type Done = (error?: Error) => void

export class SessionProgress {
  readonly #store: Store
  readonly #log: CommitLog
  readonly #done: Checkpoint
  readonly #received: Checkpoint
  /** Runs [from, to) that expired since the last commit, for the loss ledger (D4): a long queue expires as one. */
  readonly #expired: { from: Offset; to: Offset }[] = []
  readonly #waiting: Done[] = []
  #doneChanged = false
  #receivedChanged = false
  #phase: 'idle' | 'committing' | 'ended' = 'idle'

  constructor(store: Store, log: CommitLog, done: CheckpointState, received: CheckpointState) {
    this.#store = store
    this.#log = log
    this.#done = new Checkpoint(done)
    this.#received = new Checkpoint(received)
  }

  static async load(store: Store, log: CommitLog): Promise<SessionProgress> {
    const [done, received] = await Promise.all([
      store.checkpoint(log, doneConsumer),
      store.checkpoint(log, receivedConsumer),
    ])
    return new SessionProgress(store, log, done, received)
  }

  /** Writes both checkpoints of a new log, so that neither is ever taken for the log's head. */
  static stage(tx: Transaction, log: CommitLog): void {
    const start: CheckpointState = { low: log.head, done: [], retries: [] }
    tx.checkpoint(log, doneConsumer, start)
    tx.checkpoint(log, receivedConsumer, start)
  }

  /** All offsets below are done. */
  get low(): Offset {
    return this.#done.low
  }

  /** Records that are not done. */
  get queued(): number {
    const { low, done } = this.#done.state()
    const open = this.#log.end - Math.max(low, this.#log.head)
    return Math.max(
      0,
      done.reduce((left, [from, to]) => left - (to - from), open),
    )
  }

  isDone(offset: Offset): boolean {
    return this.#done.isDone(offset)
  }

  /** PUBREC came and PUBCOMP did not. */
  isReleased(offset: Offset): boolean {
    return this.#received.isDone(offset) && !this.#done.isDone(offset)
  }

  /** Marks [from, to) done. */
  complete(from: Offset, to: Offset = from + 1): void {
    if (from >= to) return
    this.#done.complete(from, to)
    this.#doneChanged = true
  }

  expire(offset: Offset): void {
    const last = this.#expired.at(-1)
    if (last?.to === offset) last.to = offset + 1
    else this.#expired.push({ from: offset, to: offset + 1 })
    this.complete(offset)
  }

  /** Marks a record received; `done` runs once that is safe against a loss of power. */
  release(offset: Offset, done?: Done): void {
    if (this.#phase === 'ended') {
      done?.()
      return
    }
    if (!this.#received.isDone(offset)) {
      this.#received.complete(offset)
      this.#receivedChanged = true
    }
    if (done !== undefined) this.#waiting.push(done)
  }

  /** The log goes: nothing is written any more. */
  end(): void {
    this.#phase = 'ended'
    for (const done of this.#waiting.splice(0)) done()
  }

  /** Commits what changed since the last commit, unless one is on its way. */
  flush(): void {
    if (this.#phase !== 'idle') return
    if (!this.#doneChanged && !this.#receivedChanged && this.#waiting.length === 0) return
    const waiting = this.#waiting.splice(0)
    const tx = new Transaction().require(waiting.length > 0 ? 'power' : 'process')
    if (this.#receivedChanged) this.#stageReceived(tx)
    if (this.#doneChanged) this.#stageDone(tx)
    this.#phase = 'committing'
    this.#store.commit(tx, error => {
      for (const callback of waiting) callback(error)
      if (this.#phase !== 'committing') return
      this.#phase = 'idle'
      if (error === undefined) this.flush()
    })
  }

  #stageReceived(tx: Transaction): void {
    this.#receivedChanged = false
    // What is done needs no entry of its own: this keeps the set as small as the window.
    this.#received.skipTo(this.#done.low)
    tx.checkpoint(this.#log, receivedConsumer, this.#received.state())
  }

  #stageDone(tx: Transaction): void {
    const log = this.#log
    this.#doneChanged = false
    tx.checkpoint(log, doneConsumer, this.#done.state())
    if (this.#done.low > log.head) tx.truncate(log, this.#done.low)
    for (const run of this.#expired.splice(0)) tx.lose(log, run, run.to - run.from, 'expired')
  }
}
