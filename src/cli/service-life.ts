/**
 * How a command lives that runs a service in the foreground (D7): until the service breaks or a signal comes,
 * then it drains and closes.
 */
import { FescueError } from '#base/errors.ts'
import { type Service, untilAborted } from '#base/service.ts'
import { flushCompileCache } from './relaunch.ts'

/** Of the five seconds between a SIGTERM and the end: the rest is for closing. */
export const drainGraceMs = 3_000

/** Resolves after a clean stop; rejects when the service broke. Either way it is disposed. */
export async function serveUntil(service: Service, signal: AbortSignal): Promise<void> {
  await using owned = service
  flushCompileCache()
  const stopped = untilAborted(signal)
  const ended = owned.run(signal).then(() => {
    if (!signal.aborted) throw new FescueError('FESCUE_INTERNAL', `${owned.name} ended by itself`)
  })
  await Promise.race([stopped, ended])
  await owned.drain(drainGraceMs)
}
