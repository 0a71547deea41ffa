/**
 * What changes when several lanes of a function run beside one another: order keys, and the version check of state.
 *
 *   an item finished ──► read what another committed since it started? ──► again, in its place
 *                                                                     └──► commit: others forget these keys
 *
 * An item that loses more than `rerunsMax` times runs alone, so that it wins. Re-runs count no attempt.
 */
import { ByteReader } from '#base/wire/byte-reader.ts'
import type { ErrorBody } from '#base/wire/executor-protocol.ts'
import type { IsolateItems } from '#base/wire/items.ts'
import { readRecord, type WireRecord } from '#base/wire/records.ts'
import type { Flight } from './flight.ts'
import type { Lane } from './lane.ts'
import { walkRecords } from './record-walk.ts'
import { VersionCheck } from './version-check.ts'

/** Runs that an item may lose to others before it runs alone. */
const rerunsMax = 3
/** Keys that a lane is told to forget one by one; above, it forgets all. */
const staleKeysMax = 256

export type Verdict = { readonly parts: readonly Buffer[] } & (
  | { readonly kind: 'pending' | 'finished' | 'again' }
  | { readonly kind: 'failed'; readonly index: number; readonly error: ErrorBody }
)

type Alone =
  | { readonly kind: 'no' }
  | { readonly kind: 'wanted' }
  | { readonly kind: 'running'; readonly index: number }

export class SideBySide {
  readonly busyKeys = new Set<string>()
  readonly #versions = new VersionCheck()
  readonly #stale = new Map<Lane, Set<string>>()
  readonly #reruns = new Map<number, number>()
  #alone: Alone = { kind: 'no' }

  begin(): void {
    this.busyKeys.clear()
    this.#versions.clear()
    this.#reruns.clear()
    this.#alone = { kind: 'no' }
  }

  mayStart(inFlight: number): boolean {
    if (this.#alone.kind === 'running') return false
    return this.#alone.kind === 'no' || inFlight === 0
  }

  snapshot(): number {
    return this.#versions.snapshot()
  }

  /** An item starts in a lane: JSON of the keys that the lane must forget. */
  start(lane: Lane, items: IsolateItems): string {
    const key = items.keys[0]
    if (key !== undefined) this.busyKeys.add(key)
    if (this.#alone.kind === 'wanted') this.#alone = { kind: 'running', index: items.first }
    const stale = this.#stale.get(lane)
    this.#stale.set(lane, new Set())
    if (stale === undefined || stale.size === 0) return ''
    return JSON.stringify(stale.size > staleKeysMax ? 'all' : [...stale])
  }

  land(flight: Flight): void {
    const key = flight.items.keys[0]
    if (key !== undefined) this.busyKeys.delete(key)
    if (this.#alone.kind === 'running' && this.#alone.index === flight.items.first)
      this.#alone = { kind: 'no' }
  }

  /** What became of the lane's item. */
  look(flight: Flight, elapsedMs: number): Verdict {
    const { parts, results, failure } = walkRecords(flight.lane.take(), elapsedMs)
    if (failure !== undefined) return { kind: 'failed', ...failure, parts }
    if (results === 0) return { kind: 'pending', parts }
    const result = resultIn(parts)
    if (result !== undefined && this.#versions.conflicts(flight.snapshot, result.reads)) {
      this.#lost(flight.items.first)
      return { kind: 'again', parts: [] }
    }
    if (result !== undefined) this.#commit(flight.lane, result)
    flight.released = 1
    return { kind: 'finished', parts }
  }

  #lost(index: number): void {
    const reruns = (this.#reruns.get(index) ?? 0) + 1
    this.#reruns.set(index, reruns)
    if (reruns > rerunsMax) this.#alone = { kind: 'wanted' }
  }

  #commit(lane: Lane, result: Extract<WireRecord, { kind: 'result' }>): void {
    const keys = result.effects.flatMap(effect => (effect.type === 'publish' ? [] : [effect.key]))
    this.#versions.commit(keys)
    for (const [other, stale] of this.#stale) if (other !== lane) for (const key of keys) stale.add(key)
  }
}

function resultIn(parts: readonly Buffer[]): Extract<WireRecord, { kind: 'result' }> | undefined {
  for (const part of parts) {
    const reader = new ByteReader(part)
    while (!reader.done) {
      const record = readRecord(reader)
      if (record.kind === 'result') return record
    }
  }
  return undefined
}
