/** mosquitto: it forwards what sensors publish, with no function and nothing on disk. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { need } from '../../test/harness/need.ts'
import { freePort } from '../../test/harness/world.ts'
import type { Order, Peer, RunningPeer } from '../peer.ts'
import { startPlainBroker } from '../plain-broker.ts'
import { writeSettings } from '../settings-file.ts'

const program = '/usr/sbin/mosquitto'

export async function startMosquitto({ setting, folder, profile }: Order): Promise<RunningPeer> {
  const port = await freePort()
  const config = writeSettings(`mosquitto/${setting}.conf`, join(folder, 'mosquitto.conf'), { port, folder })
  return startPlainBroker(profile, port, [program, '-c', config])
}

export const peer: Peer = {
  name: 'mosquitto',
  does: 'forwards; nothing is on disk',
  settings: ['raw', 'window', 'persistence'],
  runsFunctions: false,
  isBroker: true,
  keepsMessages: false,
  missing: () => (need('mosquitto') ? 'apt install mosquitto' : undefined),
  version: () => /version (\S+)/.exec(spawnSync(program, ['-h'], { encoding: 'utf8' }).stdout)?.[1] ?? '?',
  start: startMosquitto,
}
