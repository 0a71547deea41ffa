/** One story with every broker that can be had here: up in order, over a restart of the broker, and down after an absence. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { mqttUplink, range, routeAll, startDevice, temporary, until } from '../fakes/uplink-rig.ts'
import {
  broker,
  collect,
  type ForeignBroker,
  firsts,
  freePort,
  startMosquitto,
  startNats,
} from '../harness/brokers.ts'
import { need } from '../harness/need.ts'
import { mainFile } from '../harness/processes.ts'

t.setTimeout(100_000)

interface Case {
  readonly name: string
  readonly program: string
  readonly version: 4 | 5
  readonly start: (folder: string) => Promise<ForeignBroker>
}

/** Another Fescue as the cloud. */
async function startOther(folder: string): Promise<ForeignBroker> {
  const port = await freePort()
  await mkdir(join(folder, 'functions'))
  const file = join(folder, 'other.yaml')
  await writeFile(
    file,
    `device: other\nmqtt: { port: ${port} }\nhttp: { port: 0 }\nfunctions: functions\ndata: other\n`,
  )
  return broker(process.execPath, [mainFile, 'start', '--config', file], port)
}

const cases: readonly Case[] = [
  {
    name: 'mosquitto, MQTT 5',
    program: 'mosquitto',
    version: 5,
    start: folder => startMosquitto({ folder }),
  },
  { name: 'nats-server, MQTT 3.1.1', program: 'nats-server', version: 4, start: startNats },
  { name: 'Fescue, MQTT 3.1.1', program: 'sh', version: 4, start: startOther },
]

for (const { name, program, version, start } of cases)
  t.test(name, { skip: need(program) }, async t => {
    await using dir = await temporary()
    await using cloud = await start(dir.path)
    const options = version === 5 ? {} : { protocolVersion: 4 as const, properties: {} }
    await using collector = await collect(cloud.url, 'site/#', options)
    // Away while the broker restarts: NATS sends what was under way to a client again only after half a minute.
    await collector.client.endAsync()
    const device = () =>
      startDevice({
        folder: `${dir.path}/device`,
        url: '',
        uplinks: [
          mqttUplink(cloud.url, {
            topic: 'site/{topic}',
            format: 'cloudevents',
            downlink: [{ filter: 'commands/#', prefix: 'cloud/' }],
          }),
        ],
        routes: [routeAll({ filter: 'count' })],
      })
    {
      await using first = await device()
      await first.count(0, 300)
      await first.drained()
      await first.count(300, 600)
      await cloud.stop()
      await cloud.start()
      await first.drained()
    }
    collector.client.reconnect()
    const numbers = () =>
      collector.packets.map(({ payload }) => JSON.parse(payload.toString()).data.n as number)
    await until(() => firsts(numbers()).length === 600)
    t.same(firsts(numbers()), range(0, 600), 'all that went up, in order of first arrival')
    const ids = collector.packets.map(({ payload }) => JSON.parse(payload.toString()).id)
    t.same(firsts(ids.map(id => Number(id.split('/').at(-1)))), range(0, 600), 'each with its id')
    for (const n of range(0, 50))
      await collector.client.publishAsync(`commands/${n % 3}`, JSON.stringify({ n }), { qos: 1 })
    await using second = await device()
    const down: number[] = []
    second.router.onDeliver(({ topic, payload }) => {
      if (topic.startsWith('cloud/commands/')) down.push(JSON.parse(payload.toString()).n)
    })
    await until(() => firsts(down).length === 50)
    t.same(firsts(down), range(0, 50), 'what came while the device was away')
  })
