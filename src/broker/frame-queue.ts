/** Packets that must wait their turn, in order, with the bytes that they hold (the guard of a connection). */

export interface QueuedFrame {
  readonly buffer: Buffer
  readonly start: number
  readonly body: number
  readonly end: number
  /** Monotonic milliseconds when it arrived. */
  readonly at: number
}

export class FrameQueue {
  #frames: QueuedFrame[] = []
  #head = 0
  #bytes = 0

  get bytes(): number {
    return this.#bytes
  }

  get size(): number {
    return this.#frames.length - this.#head
  }

  push(frame: QueuedFrame): void {
    this.#frames.push(frame)
    this.#bytes += frame.end - frame.start
  }

  peek(): QueuedFrame | undefined {
    return this.#frames[this.#head]
  }

  shift(): void {
    const frame = this.#frames[this.#head]
    if (frame === undefined) return
    this.#bytes -= frame.end - frame.start
    this.#head += 1
    if (this.#head < 64 && this.#head < this.#frames.length) return
    this.#frames = this.#frames.slice(this.#head)
    this.#head = 0
  }

  some(test: (frame: QueuedFrame) => boolean): boolean {
    return this.#frames.some((frame, i) => i >= this.#head && test(frame))
  }

  clear(): void {
    this.#frames = []
    this.#head = 0
    this.#bytes = 0
  }
}
