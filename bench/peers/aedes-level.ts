/** aedes on aedes-persistence-level: what waits for persistent sessions is in LevelDB, not fsynced. */
import { join } from 'node:path'
import type { Peer } from '../peer.ts'
import { packageMissing, packageVersion } from '../peer-packages.ts'
import { startAedes } from './aedes.ts'

const library = 'aedes-persistence-level'

export const peer: Peer = {
  name: 'aedes + level',
  does: 'forwards; for persistent sessions written to LevelDB after the acknowledgement',
  settings: ['nodelay', 'concurrency-1000', 'nagle'],
  runsFunctions: false,
  isBroker: true,
  keepsMessages: false,
  missing: () => packageMissing(library),
  version: () => packageVersion(library),
  start: order => startAedes(order, ['--level', join(order.folder, 'level')]),
}
