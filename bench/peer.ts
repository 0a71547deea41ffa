/**
 * A peer: a program that carries messages, in up to three settings of which its best counts. Each is one file
 * in `peers/` that exports `peer`, with its configurations beside it; dropping a file in there adds a peer.
 */
import { globSync } from 'node:fs'
import { join } from 'node:path'
import type { Profile } from './profile.ts'

export interface Peer {
  readonly name: string
  /** What it does with the message of a sensor and what is on disk when it acknowledges, for the reader. */
  readonly does: string
  /** Names of its settings; the first is the one that is expected to win. */
  readonly settings: readonly string[]
  /** Runs functions; without, it forwards the messages of sensors to those who subscribe. */
  readonly runsFunctions: boolean
  /** Is a broker by itself, and not a client of another peer's. */
  readonly isBroker: boolean
  /** Keeps an acknowledged message on disk though no session waits for it. */
  readonly keepsMessages: boolean
  /** Why it cannot run on this machine, and what to type; undefined when it can. */
  missing(): string | undefined
  version(): string
  start(order: Order): Promise<RunningPeer>
}

export interface Order {
  readonly setting: string
  /** Exists and is empty; the peer's alone. */
  readonly folder: string
  /** Functions to have: each answers the messages of `sensorFilter` with one to an actuator. */
  readonly functions: number
  readonly profile: Profile
}

export interface RunningPeer extends AsyncDisposable {
  readonly port: number
  /** When its process was started, by `performance.now()`. */
  readonly startedAt: number
  /** Where the outcome of a sensor's message is published. */
  readonly outcomes: string
  pids(): number[]
}

/** What function `index` of `functions` is triggered by: a single one by all sensors. */
export function sensorFilter(index: number, functions: number): string {
  return `sensors/${functions === 1 ? '+' : index}/temperature`
}

/** All that sensors publish: the outcome, where no function runs. */
export const sensorsFilter = 'sensors/#'

export const sensorTopic = (sensor: number): string => `sensors/${sensor}/temperature`

/** Where a function answers a sensor. */
export const actuatorTopic = (sensor: number): string => `actuators/${sensor}/fan`

/** All peers, Fescue first. */
export async function allPeers(): Promise<Peer[]> {
  const folder = join(import.meta.dirname, 'peers')
  const peers: Peer[] = []
  for (const file of globSync('*.ts', { cwd: folder }).toSorted()) {
    const module: { peer: Peer } = await import(join(folder, file))
    peers.push(module.peer)
  }
  return peers.toSorted((a, b) => Number(b.name === 'Fescue') - Number(a.name === 'Fescue'))
}
