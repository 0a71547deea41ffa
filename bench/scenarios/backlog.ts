/**
 * A link that was down for long: records fill the outbox, then leave it as fast as they can to a receiver that only
 * counts. The growth is that of the daemon's memory from a twentieth of the records to all of them.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { proportionalMb } from '../launch.ts'
import { publishCount } from '../load/load.ts'
import { sensorTopic } from '../peer.ts'
import { type RunningFescue, startFescue } from '../peers/fescue.ts'
import type { Scenario } from '../scenario.ts'

const drainMaxMs = 600_000

export const backlog: Scenario = {
  name: 'backlog',
  profiles: ['pi'],
  rounds: 'one',
  choosesSetting: false,
  figures: [
    { title: 'records buffered', values: ['records'], better: 'higher' },
    { title: '… accepted per second, durable', values: ['fillPerSecond'], better: 'higher' },
    {
      title: '… growth of memory, MB',
      values: ['growthMb'],
      better: 'lower',
      goals: [
        { profile: 'box', value: 'growthMb', atMost: 20 },
        { profile: 'pi', value: 'growthMb', atMost: 20 },
      ],
    },
    {
      title: '… drained over HTTP, records/s',
      values: ['drainPerSecond'],
      better: 'higher',
      goals: [{ profile: 'box', value: 'drainPerSecond', atLeast: 30_000 }],
    },
  ],
  takes: peer => peer.name === 'Fescue',
  async measure(_peer, { profile, setting, folder, records, say }) {
    await using receiver = await startCounter()
    const config = `uplink: { connector: http, url: "http://127.0.0.1:${receiver.port}/" }
routes: [{ filter: sensors/#, to: default }]`
    await using daemon = await startFescue({ profile, setting, folder, functions: 0, config })
    await setLink(daemon, false)
    const load = { port: daemon.port, qos: 1, publishers: 4, payloadBytes: 256, topic: sensorTopic } as const
    const early = await publishCount(load, Math.ceil(records / 20))
    const earlyMb = proportionalMb([daemon.daemonPid])
    const filledFrom = performance.now()
    const late = await publishCount(load, records - early)
    const fillSeconds = (performance.now() - filledFrom) / 1000
    const growthMb = proportionalMb([daemon.daemonPid]) - earlyMb
    const total = early + late
    say(`${total} records buffered, memory grew by ${Math.round(growthMb)} MB`)
    const drainedFrom = performance.now()
    await setLink(daemon, true)
    while (receiver.records < total && performance.now() - drainedFrom < drainMaxMs)
      await new Promise(resolve => setTimeout(resolve, 10))
    const drainSeconds = (performance.now() - drainedFrom) / 1000
    const lost = Math.max(0, total - receiver.records)
    const outOfMemory = profile.outOfMemoryKills() ?? 0
    return {
      values: {
        records: total,
        fillPerSecond: Math.round(late / fillSeconds),
        growthMb: Math.round(growthMb),
        drainPerSecond: Math.round((total - lost) / drainSeconds),
        afterDrainMb: Math.round(proportionalMb([daemon.daemonPid])),
      },
      violations: [
        ...(lost > 0 ? [`${lost} records did not reach the receiver`] : []),
        ...(outOfMemory > 0 ? [`${outOfMemory} processes killed for memory`] : []),
      ],
    }
  },
}

const setLink = (daemon: RunningFescue, online: boolean) =>
  daemon.api('/api/v1/link', { method: 'POST', body: JSON.stringify({ online }) })

interface Counter extends AsyncDisposable {
  readonly port: number
  readonly records: number
}

/** Answers 200 to each batch and counts its records by a word that each has once; parsing would cost the drain. */
async function startCounter(): Promise<Counter> {
  const word = Buffer.from('"specversion"')
  let records = 0
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const body = Buffer.concat(chunks)
    for (let at = body.indexOf(word); at >= 0; at = body.indexOf(word, at + word.length)) records += 1
    response.writeHead(request.method === 'POST' ? 200 : 404).end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    get records() {
      return records
    },
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}
