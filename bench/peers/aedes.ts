/** aedes with everything in memory: the broker library that Fescue's own control plane is built on. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '../../test/harness/world.ts'
import type { Order, Peer, RunningPeer } from '../peer.ts'
import { packageMissing, packageVersion } from '../peer-packages.ts'
import { startPlainBroker } from '../plain-broker.ts'

const folder = join(import.meta.dirname, 'aedes')

/** Starts aedes; a setting is a list of arguments of its server, to which `extra` are added. */
export async function startAedes(order: Order, extra: readonly string[] = []): Promise<RunningPeer> {
  const settings: Record<string, string[]> = JSON.parse(readFileSync(join(folder, 'settings.json'), 'utf8'))
  const port = await freePort()
  const args = ['--port', String(port), ...(settings[order.setting] ?? []), ...extra]
  return startPlainBroker(order.profile, port, [order.profile.node, join(folder, 'server.mjs'), ...args])
}

export const peer: Peer = {
  name: 'aedes',
  does: 'forwards; nothing is on disk',
  settings: ['nodelay', 'concurrency-1000', 'nagle'],
  runsFunctions: false,
  isBroker: true,
  keepsMessages: false,
  missing: () => packageMissing('aedes'),
  version: () => packageVersion('aedes'),
  start: order => startAedes(order),
}
