/** SIGKILL for one of the processes of a world, and its start anew. */
import type { Random } from './random.ts'
import type { World } from './world.ts'

export type Target = 'daemon' | 'executor' | 'endpoint'

/** Kills and starts again; sometimes kills once more while it starts. Whether there was something to kill. */
export async function killOne(world: World, target: Target, random: Random): Promise<boolean> {
  if (target === 'executor') return killExecutor(world)
  if (target === 'endpoint') {
    await world.endpoint?.kill()
    await world.startEndpoint()
    return true
  }
  await world.daemon?.kill()
  if (random.next() < 0.1) {
    const starting = world.startDaemon().catch(() => {})
    await new Promise(resolve => setTimeout(resolve, random.int(50, 500)))
    await starting
    await world.daemon?.kill()
  }
  await world.startDaemon()
  return true
}

/** The daemon starts another by itself. */
function killExecutor(world: World): boolean {
  const [pid] = world.executors()
  if (pid === undefined) return false
  try {
    process.kill(pid, 'SIGKILL')
    return true
  } catch {
    return false
  }
}
