/**
 * Which of a function's lanes read state that another has written meanwhile.
 *
 *   begin ──► snapshot ──► … handler reads and writes … ──► conflicts(snapshot, reads)? ──no──► commit(writes)
 *                                                                └──yes──► run again: no attempt is counted
 */
export class VersionCheck {
  #version = 0
  readonly #writtenAt = new Map<string, number>()

  /** Taken when an item starts. */
  snapshot(): number {
    return this.#version
  }

  /** Whether any of the keys was written since the snapshot. */
  conflicts(snapshot: number, keys: readonly string[]): boolean {
    return keys.some(key => (this.#writtenAt.get(key) ?? 0) > snapshot)
  }

  commit(keys: readonly string[]): void {
    if (keys.length === 0) return
    this.#version++
    for (const key of keys) this.#writtenAt.set(key, this.#version)
  }

  /** Between runs nothing is in flight, so nothing needs to be remembered. */
  clear(): void {
    this.#writtenAt.clear()
  }
}
