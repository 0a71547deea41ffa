/** One item of a batch while it is in the handler: what it is, and the effects it has asked for so far. */
import { flatCopy, stringSlice } from './natives.ts'

export type GuestEffect = (
  | {
      type: 'publish'
      topic: string
      text: string
      bytes: Uint8Array<ArrayBuffer> | undefined
      flags: number
    }
  | { type: 'set'; key: string; value: string }
  | { type: 'delete'; key: string }
) & { next: GuestEffect | undefined }

/** Index that log lines written while the module loads carry. */
export const loadIndex = 0xffffffff

export class Invocation {
  readonly index: number
  readonly attempt: number
  readonly topic: string
  readonly time: number
  readonly flags: number
  readonly startedAt: number
  /** A chain of effects, since a function can reach into arrays through Array.prototype. */
  firstEffect: GuestEffect | undefined
  lastEffect: GuestEffect | undefined
  effectCount = 0
  effectBytes = 0
  /** State it wrote: JSON text, or undefined for deleted. */
  writes: Map<string, string | undefined> | undefined
  /** State it read, kept where lanes run side by side. */
  reads: Map<string, true> | undefined
  /** Result by callback instead of promise or return value. */
  waitsForCallback = false
  readonly #text: string
  readonly #idStart: number
  readonly #idLength: number
  #id: string | undefined

  constructor(
    index: number,
    text: string,
    idStart: number,
    idLength: number,
    fields: { attempt: number; topic: string; time: number; flags: number; startedAt: number },
  ) {
    this.index = index
    this.#text = text
    this.#idStart = idStart
    this.#idLength = idLength
    this.attempt = fields.attempt
    this.topic = fields.topic
    this.time = fields.time
    this.flags = fields.flags
    this.startedAt = fields.startedAt
  }

  /** The invocation's id: copied out of the chunk's text only when it is asked for. */
  get id(): string {
    this.#id ??= flatCopy(stringSlice(this.#text, this.#idStart, this.#idStart + this.#idLength))
    return this.#id
  }
}
