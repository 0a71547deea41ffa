/**
 * What a message costs the flash: sectors that the block device takes for messages of 256 bytes through a function
 * at a steady rate. The peer's folder is a file system of its own in an image behind a loop device, so that no
 * other process counts; it is synced before and after.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { need } from '../../test/harness/need.ts'
import { deviceBytesWritten } from '../disk.ts'
import { mountImage } from '../image.ts'
import { runLoad } from '../load/load.ts'
import { firstMessageThrough } from '../load/probe.ts'
import { type Peer, sensorTopic } from '../peer.ts'
import type { Conditions, Outcome, Scenario } from '../scenario.ts'

/** Rare messages need longer to be a sample. */
const timesLonger = 3

async function measureWear(peer: Peer, conditions: Conditions, ratePerSecond: number): Promise<Outcome> {
  const disk = mountImage()
  try {
    const folder = join(disk.folder, 'peer')
    mkdirSync(folder)
    const { profile, setting, warmSeconds, seconds } = conditions
    await using running = await peer.start({ profile, setting, folder, functions: 1 })
    const load = (forSeconds: number) =>
      runLoad({
        port: running.port,
        qos: 1,
        publishers: 1,
        subscribers: 1,
        persistent: false,
        payloadBytes: 256,
        topic: sensorTopic,
        filter: running.outcomes,
        window: 4_000,
        inFlightMax: 4_000,
        warmSeconds: 0,
        seconds: forSeconds,
        ratePerSecond,
      })
    await firstMessageThrough(running.port, sensorTopic(0), running.outcomes)
    await load(warmSeconds)
    execFileSync('sync', ['-f', disk.folder])
    const before = deviceBytesWritten(disk.folder)
    const { sent, deliveredPerSecond } = await load(seconds * timesLonger)
    execFileSync('sync', ['-f', disk.folder])
    const bytes = deviceBytesWritten(disk.folder) - before
    return { values: { deviceBytesPerMessage: Math.round(bytes / sent), sent, deliveredPerSecond } }
  } finally {
    disk.unmount()
  }
}

function wear(ratePerSecond: number, atMostBytes?: number): Scenario {
  return {
    name: `wear-${ratePerSecond}`,
    profiles: ['box'],
    rounds: 'one',
    choosesSetting: false,
    figures: [
      {
        title: `written to the device per message at ${ratePerSecond.toLocaleString('en')} messages/s, bytes`,
        values: ['deviceBytesPerMessage'],
        better: 'lower',
        goals:
          atMostBytes === undefined
            ? []
            : [{ profile: 'box', value: 'deviceBytesPerMessage', atMost: atMostBytes }],
      },
    ],
    takes: peer => peer.keepsMessages,
    missing: () =>
      process.getuid?.() === 0
        ? need('mkfs.ext4', 'mount') || undefined
        : 'needs root, to mount a file system of its own',
    measure: (peer, conditions) => measureWear(peer, conditions, ratePerSecond),
  }
}

export const wear10 = wear(10, 6_000)
export const wear1000 = wear(1_000)
export const wear10000 = wear(10_000, 1_500)
