/** A store with a router and the broker's sessions and wills on it, as the daemon puts them together. */
import { type Clock, systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import { openSessions, type SessionLimits, type SessionStore } from '#broker/session-store.ts'
import { Wills, type WillsOptions } from '#broker/wills.ts'
import type { DurabilityRule } from '#router/durability.ts'
import type { Message } from '#router/message.ts'
import { Retained } from '#router/retained.ts'
import { Router } from '#router/router.ts'
import { openStore, type StoreOptions } from '#store/open.ts'
import type { LedgerEntry, Store } from '#store/store.ts'

export interface SessionParts extends AsyncDisposable {
  readonly store: Store
  readonly router: Router
  readonly sessions: SessionStore
  readonly wills: Wills
  publish(topic: string, payload: string, fields?: Partial<Message>): Promise<void>
  /** The loss ledger so far. */
  ledger(): Promise<LedgerEntry[]>
  /** Closes the store alone, with sessions and clients as they are: what a kill leaves behind. */
  abandon(): Promise<void>
}

export interface PartsOptions {
  /** A data folder, or memory. */
  readonly folder?: string
  readonly clock?: Clock
  readonly limits?: Partial<SessionLimits>
  readonly durability?: readonly DurabilityRule[]
  readonly wills?: Partial<WillsOptions>
  readonly store?: Partial<StoreOptions>
}

export async function openParts(options: PartsOptions = {}): Promise<SessionParts> {
  const { folder, clock = systemClock, limits = {}, durability = [] } = options
  const logger = silentLogger
  const store = await openStore({ folder, clock, logger, ...options.store })
  const retained = await Retained.open(store)
  const router = new Router({ store, retained, clock, durability, blockMs: 1_000 })
  const sessions = await openSessions({ store, router, clock, logger, limits })
  const wills = await Wills.open({ store, router, clock, logger, ...options.wills })
  return {
    store,
    router,
    sessions,
    wills,
    publish: async (topic, payload, fields) => {
      await router.publish({
        topic,
        payload: Buffer.from(payload),
        qos: 1,
        retain: false,
        time: clock.now(),
        origin: { kind: 'mqtt', client: 'publisher' },
        hops: 0,
        ...fields,
      })
    },
    ledger: async () => {
      const { records } = await store.ledger.read(0, { maxRecords: 10_000, maxBytes: 1e7 })
      return records.map(({ payload }) => JSON.parse(payload.toString()) as LedgerEntry)
    },
    abandon: async () => {
      await store[Symbol.asyncDispose]()
    },
    [Symbol.asyncDispose]: async () => {
      await wills[Symbol.asyncDispose]()
      await sessions[Symbol.asyncDispose]()
      await store[Symbol.asyncDispose]()
    },
  }
}
