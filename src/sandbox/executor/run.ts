/** A run in progress, and what the driver of a function (function-run.ts) needs of its executor. */
import type { EndedBody, ErrorBody, WireSpec } from '#base/wire/executor-protocol.ts'
import type { IsolateItems } from '#base/wire/items.ts'
import type { IsolateServices } from './function-isolate.ts'
import type { SideBySide } from './side-by-side.ts'
import { WorkQueue } from './work-queue.ts'

export interface RunServices extends Omit<IsolateServices, 'flooded'> {
  /** Whether the daemon takes more now. */
  ready(): boolean
  records(run: number, parts: readonly Buffer[]): void
  ended(body: EndedBody): void
}

export interface Run {
  readonly run: number
  readonly queue: WorkQueue
  /** The last items came. */
  complete: boolean
  /** One item an entry, to find the owner of a rejection. */
  careful: boolean
  /** Side by side: the failure that ends the run, once what is in flight beside it has landed. */
  failure: { readonly index: number; readonly error: ErrorBody } | undefined
}

export function newRun(run: number, payload: WireSpec['payload']): Run {
  return { run, queue: new WorkQueue(payload), complete: false, careful: false, failure: undefined }
}

/** What the next lane gets: a chunk, or one item where items run side by side or one an entry. */
export function itemsFor(run: Run, sideBySide: SideBySide | undefined): IsolateItems | undefined {
  if (sideBySide !== undefined) return run.queue.takeOne(sideBySide.busyKeys)
  return run.careful ? run.queue.takeOne(new Set()) : run.queue.takeChunk()
}
