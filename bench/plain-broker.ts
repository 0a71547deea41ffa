/** A peer that is one process: a broker that forwards what sensors publish, and runs no function. */
import { launch } from './launch.ts'
import { type RunningPeer, sensorsFilter } from './peer.ts'
import type { Profile } from './profile.ts'

/** Starts the command; resolves once something listens on the port. */
export async function startPlainBroker(
  profile: Profile,
  port: number,
  command: readonly string[],
): Promise<RunningPeer> {
  const broker = launch(profile, command)
  await broker.listening(port)
  return {
    port,
    startedAt: broker.startedAt,
    outcomes: sensorsFilter,
    pids: broker.pids,
    [Symbol.asyncDispose]: () => broker[Symbol.asyncDispose](),
  }
}
