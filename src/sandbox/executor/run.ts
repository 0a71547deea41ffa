/** A run in progress, and what the driver of a function (function-run.ts) needs of its executor. */
import type { EndedBody } from '#base/wire/executor-protocol.ts'
import type { IsolateServices } from './function-isolate.ts'
import type { WorkQueue } from './work-queue.ts'

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
}
