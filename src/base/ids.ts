/**
 * Names and identities that every part shares.
 *
 * A record is known by (epoch, log incarnation, offset), an invocation by its function and the record that
 * started it. Both are computed, never stored apart, so they are equal over attempts and restarts (D9).
 */
import { createHash, randomBytes } from 'node:crypto'
import { FescueError } from './errors.ts'

declare const brand: unique symbol
type Brand<T, Name extends string> = T & { readonly [brand]?: Name }

/** Position of a record in its commit log: dense from 0, never reused. */
export type Offset = Brand<number, 'Offset'>
/** 12 hex digits, random: one life of a database in which offsets are not reused. */
export type Epoch = Brand<string, 'Epoch'>
/** Number of a log's life in its database; a removed log leaves its number for ever. */
export type Incarnation = Brand<number, 'Incarnation'>
/** UUID (version 8) of an invocation. */
export type InvocationId = Brand<string, 'InvocationId'>

export const namePattern: RegExp = /^[A-Za-z0-9._-]{1,64}$/

/** Throws FESCUE_NAME_INVALID unless `name` may name a device, function, log or uplink. */
export function checkName(what: string, name: string): void {
  if (namePattern.test(name)) return
  throw new FescueError('FESCUE_NAME_INVALID', `${what} "${name}": use 1 to 64 of A-Z a-z 0-9 . _ -`)
}

export function newEpoch(): Epoch {
  return randomBytes(6).toString('hex')
}

/** The id that leaves the device with a record (CloudEvents `id`). */
export function recordId(
  device: string,
  epoch: Epoch,
  log: string,
  incarnation: Incarnation,
  offset: Offset,
): string {
  return `${device}/${epoch}/${log}.${incarnation}/${offset}`
}

/**
 * Makes the invocation ids of one function over one log: a UUID of version 8 (RFC 9562) whose first 74 free
 * bits hash (epoch, function, log, incarnation) and whose last 48 bits are the offset. Cheap per message.
 */
export function invocationIds(
  epoch: Epoch,
  functionName: string,
  log: string,
  incarnation: Incarnation,
): (offset: Offset) => InvocationId {
  const hash = createHash('sha256').update(`${epoch}\n${functionName}\n${log}\n${incarnation}`).digest('hex')
  const variant = '89ab'[Number.parseInt(hash[15] ?? '0', 16) & 3]
  const prefix = `${hash.slice(0, 8)}-${hash.slice(8, 12)}-8${hash.slice(12, 15)}-${variant}${hash.slice(16, 19)}-`
  return offset => prefix + offset.toString(16).padStart(12, '0')
}
