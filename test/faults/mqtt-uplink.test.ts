/**
 * An uplink over MQTT whose link is cut at random bytes, whose broker restarts and whose daemon is killed: each
 * admitted message arrives, at least once, in order of first arrival (D3). A connector that takes a record for
 * acknowledged before its PUBACK must fail this.
 */
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import type { UplinkConfig } from '#config/device-config.ts'
import { MqttConnector } from '#uplink/mqtt-connector.ts'
import { type Plan, startProxy } from '../fakes/proxy.ts'
import { mqttUplink, range, startDevice, temporary, until } from '../fakes/uplink-rig.ts'
import { collect, firsts, startMosquitto } from '../harness/brokers.ts'
import { need } from '../harness/need.ts'
import { Publisher } from '../harness/publisher.ts'
import { seededRandom } from '../harness/random.ts'
import { World } from '../harness/world.ts'

t.setTimeout(120_000)
const skip = need('mosquitto')

interface Run {
  readonly cuts: number
  readonly plan: (random: () => number) => Plan
  readonly connect?: (uplink: UplinkConfig) => MqttConnector
}

function cutAnywhere(random: () => number): Plan {
  const how = random() < 0.5 ? 'fin' : 'rst'
  // A PUBACK has 4 bytes, a record some 90.
  if (random() < 0.5) return { responseBytes: Math.floor(random() * 400), how }
  return { requestBytes: Math.floor(random() * 9_000), how }
}

/** Publishes while the link is cut, until it was cut often enough; gives what arrived and what should have. */
async function run({ cuts, plan, connect }: Run): Promise<{ numbers: number[]; expected: number }> {
  await using dir = await temporary()
  await using broker = await startMosquitto({ folder: dir.path })
  await using cloud = await collect(broker.url, 'count')
  await using proxy = await startProxy(broker.port)
  const random = seededRandom()
  t.comment(`SEED=${random.seed}`)
  proxy.plan = () => plan(() => random.next())
  const uplinks = [mqttUplink(`mqtt://127.0.0.1:${proxy.port}`)]
  const more = connect === undefined ? {} : { connect }
  await using device = await startDevice({ folder: `${dir.path}/device`, url: '', uplinks, ...more })
  let expected = 0
  while (proxy.broken < cuts) {
    await device.count(expected, expected + 50)
    expected += 50
    await new Promise(resolve => setTimeout(resolve, 5))
  }
  proxy.plan = () => undefined
  await device.count(expected, expected + 50)
  expected += 50
  await device.drained()
  const hasLast = () => cloud.numbers().at(-1) === expected - 1
  // A connection that was to be cut may still take the last ones with it, where they are not sent again.
  for (let tries = 1; tries < triesMax && !(await holdsWithin(hasLast, 1000)); tries++) {
    await device.count(expected, expected + 1)
    expected += 1
  }
  await until(hasLast)
  return { numbers: cloud.numbers(), expected }
}

t.test('cut 25 times at random bytes: each record, in order of first arrival (D3)', { skip }, async t => {
  const { numbers, expected } = await run({ cuts: 25, plan: cutAnywhere })
  t.same(firsts(numbers), range(0, expected))
  t.comment(`${expected} records, ${numbers.length - expected} sent again`)
})

const triesMax = 20

const holdsWithin = (holds: () => boolean, timeoutMs: number) =>
  until(holds, timeoutMs).then(
    () => true,
    () => false,
  )

/** The one fault that the run must find: it acknowledges what the broker has not. */
class EarlyConnector extends MqttConnector {
  override async send(...[encoded, options]: Parameters<MqttConnector['send']>) {
    void super.send(encoded, options)
    return { type: 'acknowledged' as const }
  }
}

t.test(
  'canary: a checkpoint that moves before the PUBACK loses records, and the run sees it',
  { skip },
  async t => {
    const connect = (uplink: UplinkConfig) =>
      new EarlyConnector({
        device: 'pi',
        uplink,
        mqtt: uplink.mqtt!,
        clock: systemClock,
        logger: silentLogger,
        down: undefined,
      })
    const plan = (random: () => number): Plan => ({
      requestBytes: 300 + Math.floor(random() * 1_000),
      how: 'rst',
    })
    const { numbers, expected } = await run({ cuts: 12, plan, connect })
    t.ok(firsts(numbers).length < expected, `${expected - firsts(numbers).length} of ${expected} are missing`)
  },
)

t.test(
  'the daemon killed 3 times and the broker restarted once in the middle of batches',
  { skip },
  async t => {
    await using dir = await mkdtempDisposable(join(tmpdir(), 'fescue-mqtt-kill-'))
    await using broker = await startMosquitto({ folder: dir.path })
    await using cloud = await collect(broker.url, 'site/#')
    const random = seededRandom()
    t.comment(`SEED=${random.seed}`)
    const seen = () => new Set(cloud.packets.map(({ payload }) => JSON.parse(payload.toString()).n as number))
    // The list of routes of the file goes on; the HTTP uplink of the world stays down all the while.
    const config = `  - { filter: in/#, to: broker, name: up }
uplinks:
  broker: { connector: mqtt, url: "${broker.url}", topic: "site/{topic}" }
`
    await using world = await World.create({ functions: {}, config })
    await world.startDaemon()
    const publisher = new Publisher({
      name: 'p1',
      port: () => world.mqttPort,
      qos: 1,
      topics: 4,
      window: 50,
      ratePerSecond: 1_000,
    })
    publisher.start()
    for (let kill = 0; kill < 3; kill++) {
      const target = seen().size + random.int(50, 200)
      await until(() => seen().size >= target)
      await world.daemon?.kill()
      if (kill === 1) {
        await broker.stop()
        await broker.start()
      }
      await world.startDaemon()
    }
    await publisher.finish()
    const { uplinks } = await world.api<{ uplinks: { name: string }[] }>('/api/v1/status')
    t.same(
      uplinks.map(({ name }) => name),
      ['default', 'broker'],
    )
    await until(async () => {
      const status = await world.api<{ uplinks: { name: string; records: number }[] }>('/api/v1/status')
      return status.uplinks.find(({ name }) => name === 'broker')?.records === 0
    })
    await until(() => seen().size >= publisher.admitted.size)
    t.same(
      [...publisher.admitted].filter(n => !seen().has(n)),
      [],
      `all of ${publisher.admitted.size} admitted messages are there`,
    )
    const offsets = cloud.packets.map(({ properties }) =>
      Number(String(properties?.userProperties?.['fescue-id']).split('/').at(-1)),
    )
    t.same(firsts(offsets), range(0, Math.max(...offsets) + 1), 'without a gap, in order of first arrival')
    t.comment(`${offsets.length - firsts(offsets).length} of ${offsets.length} sent again`)
  },
)
