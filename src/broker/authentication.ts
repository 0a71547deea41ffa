/**
 * Who may connect. Without users everyone may who can reach a listener on the loopback; as soon as one user
 * exists, every client must prove to be one. On a network listener nobody may once the last user is revoked.
 *
 * A failed attempt slows down the next from the same address: free up to `freeFailures`, then doubling up to
 * `failureDelayMaxMs`. The delay comes before the password is looked at, so guesses cost time and no hashing.
 */
import { type Clock, sleep } from '#base/clock.ts'

/** The users of the device config; its comparison takes the same time for every wrong answer. */
export interface Users {
  readonly size: number
  /** The user's name when the credentials are right. Notices users that were added or removed meanwhile. */
  verify(username: string, password: Buffer): Promise<string | undefined>
  /** Whether the name is still a user. */
  has(username: string): Promise<boolean>
}

/** `anonymous`: there are no users at all. */
export type Accepted = { readonly kind: 'anonymous' } | { readonly kind: 'user'; readonly username: string }

/** Failed attempts from one address that cost no wait. */
export const freeFailures = 5
const failureDelayInitialMs = 250
export const failureDelayMaxMs = 10_000
const nothing = Buffer.alloc(0)
/** Failures of an address are forgotten after this time without another. */
const failureMemoryMs = 15 * 60_000
/** Addresses whose failures are remembered; the one that failed longest ago goes first. */
export const failingAddressesMax = 10_000

interface Failures {
  readonly count: number
  readonly at: number
}

export class Authentication {
  readonly #users: Users
  readonly #clock: Clock
  readonly #onLoopback: boolean
  readonly #failures = new Map<string, Failures>()

  /** `onLoopback`: whether the listener can be reached from this machine only. */
  constructor(users: Users, clock: Clock, onLoopback: boolean) {
    this.#users = users
    this.#onLoopback = onLoopback
    this.#clock = clock
  }

  /** Resolves, after the wait that the address has earned, with who the client is; undefined: it may not connect. */
  async check(
    address: string,
    username: string | undefined,
    password: Buffer | undefined,
  ): Promise<Accepted | undefined> {
    const delayMs = this.delayMs(address)
    if (delayMs > 0) await sleep(this.#clock, delayMs)
    const user = await this.#users.verify(username ?? '', password ?? nothing).catch(() => undefined)
    if (this.#users.size === 0 && this.#onLoopback) return { kind: 'anonymous' }
    const accepted = user !== undefined && username !== undefined
    this.#note(address, accepted)
    return accepted ? { kind: 'user', username } : undefined
  }

  /** What the next attempt from this address waits. */
  delayMs(address: string): number {
    const failures = this.#failures.get(address)
    if (failures === undefined || failures.count < freeFailures) return 0
    if (this.#clock.monotonic() - failures.at > failureMemoryMs) return 0
    return Math.min(
      failureDelayMaxMs,
      failureDelayInitialMs * 2 ** Math.min(failures.count - freeFailures, 20),
    )
  }

  #note(address: string, accepted: boolean): void {
    const failures = this.#failures.get(address)
    this.#failures.delete(address)
    if (accepted) return
    const now = this.#clock.monotonic()
    const count = failures === undefined || now - failures.at > failureMemoryMs ? 1 : failures.count + 1
    if (this.#failures.size >= failingAddressesMax) {
      const oldest = this.#failures.keys().next()
      if (!oldest.done) this.#failures.delete(oldest.value)
    }
    this.#failures.set(address, { count, at: now })
  }
}
