/** The credits for an invocation's effects (D6): how many, and how much. */
import type { GuestEffect, Invocation } from './invocation.ts'
import { NativeError } from './natives.ts'

/** Effects that one invocation may have. */
export const effectsMax = 1000
/** Characters and bytes of keys, topics, values and payloads that one invocation's effects may hold. */
export const effectBytesMax = 1_048_576

/** Adds an effect to its invocation; throws when a credit is used up. */
export function addEffect(invocation: Invocation, effect: GuestEffect, bytes: number): void {
  if (invocation.effectCount >= effectsMax)
    throw new NativeError(`an invocation has at most ${effectsMax} effects (publish, state)`)
  if (invocation.effectBytes + bytes > effectBytesMax)
    throw new NativeError(`the effects of an invocation hold at most ${effectBytesMax} bytes`)
  if (invocation.lastEffect === undefined) invocation.firstEffect = effect
  else invocation.lastEffect.next = effect
  invocation.lastEffect = effect
  invocation.effectCount++
  invocation.effectBytes += bytes
}
