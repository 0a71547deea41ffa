/** NATS through its MQTT port: a JetStream message on disk (not fsynced) for each of QoS 1. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { need } from '../../test/harness/need.ts'
import { freePort } from '../../test/harness/world.ts'
import type { Peer } from '../peer.ts'
import { startPlainBroker } from '../plain-broker.ts'
import { writeSettings } from '../settings-file.ts'

const program = 'nats-server'

export const peer: Peer = {
  name: 'NATS',
  does: 'forwards; written to disk at once, fsynced every two minutes',
  settings: ['file', 'defaults', 'consumers-in-memory'],
  runsFunctions: false,
  isBroker: true,
  keepsMessages: true,
  missing: () => (need(program) ? `apt install ${program}` : undefined),
  version: () =>
    execFileSync(program, ['--version'], { encoding: 'utf8' })
      .trim()
      .replace(/^.* v?/, ''),
  async start({ setting, folder, profile }) {
    const port = await freePort()
    const words = { port, client: await freePort(), folder }
    const config = writeSettings(`nats/${setting}.conf`, join(folder, 'nats.conf'), words)
    return startPlainBroker(profile, port, [program, '-c', config])
  },
}
