/**
 * The main job at full rate while processes are killed: sensor → function with state → actuator and cloud, SIGKILL
 * for daemon, executor and endpoint now and then. Afterwards everything drains, and the ledgers of the actuator and
 * of the cloud are judged: each message that was acknowledged has its effects once, or the run has failed.
 *
 *   publisher ──► daemon ──► executor (count in state) ──► actuator (persistent subscriber) ──► ledger
 *                   └──────────────────────────────────────► endpoint ───────────────────────► ledger
 */
import { killOne, type Target } from '../../test/harness/kill.ts'
import { device, World } from '../../test/harness/world.ts'
import { Ledger } from '../ledger.ts'
import { EnduringPublisher } from '../load/enduring-publisher.ts'
import { EnduringSubscriber } from '../load/enduring-subscriber.ts'
import { firstNumber } from '../load/message.ts'
import { Outages } from '../outages.ts'
import type { Conditions, Outcome, Scenario } from '../scenario.ts'

/** The daemon more often than the executor, that more often than the endpoint. */
const targets: readonly Target[] = ['daemon', 'daemon', 'daemon', 'executor', 'executor', 'endpoint']
const publisherCount = 2
const windowMax = 1_000
const underWayMax = 2_000
const drainMaxMs = 180_000

const source = `
import { publish, state } from 'fescue'
export async function handler(event, context) {
  const publisher = context.topic.split('/')[1]
  const count = ((await state.get(publisher)) ?? 0) + 1
  await state.set(publisher, count)
  publish('out/' + publisher + '/fan', { n: event.n, count }, { qos: 1 })
}
`
const manifest = 'triggers:\n  - topic: sensors/+/temperature\npermissions:\n  publish: [out/+/fan]\n'

const pause = (delayMs: number) => new Promise(resolve => setTimeout(resolve, delayMs))

async function killUnderLoad(conditions: Conditions, world: World, outages: Outages): Promise<number> {
  const { random, kills, seconds, say } = conditions
  let done = 0
  while (done < kills) {
    await pause(random.int(300, 300 + 2_000 * seconds))
    const target = random.pick(targets)
    // The endpoint is not on the way to the actuator: its end is no outage.
    if (target !== 'endpoint') outages.down()
    if (await killOne(world, target, random)) done += 1
    if (target !== 'endpoint') outages.up()
    if (done % 50 === 0) say(`${done} kills`)
  }
  await pause(1_000)
  return done
}

interface OutRecord {
  readonly index: number
  readonly type: string
  readonly subject: string
  readonly data: { readonly n: number; readonly count: number }
}

/** Enters in the ledgers what the endpoint keeps. */
async function readCloud(world: World, ledgers: readonly Ledger[]): Promise<void> {
  const limit = 20_000
  for (let after = -1; ; ) {
    const page = await world.cloud<OutRecord[]>(`/v1/devices/${device}/records?after=${after}&limit=${limit}`)
    for (const { index, type, subject, data } of page) {
      after = index
      if (type === 'fescue.message.v1') ledgers[publisherOf(subject)]?.see(data.n - firstNumber, data.count)
    }
    if (page.length === 0) return
  }
}

const publisherOf = (topic: string) => Number(topic.split('/')[1])
const sum = (values: readonly number[]) => values.reduce((total, each) => total + each, 0)

interface EndpointCounts {
  readonly records: number
  readonly gaps: number
  readonly lost: number
}

const endpointCounts = (world: World) =>
  world.cloud<EndpointCounts>(`/v1/devices/${device}`).catch(() => ({ records: 0, gaps: 0, lost: 0 }))

/** Until actuator and cloud have all, or nothing more has come for long. */
async function drained(world: World, actuators: readonly Ledger[], sent: number): Promise<void> {
  for (const began = performance.now(); performance.now() - began < drainMaxMs; ) {
    const here = sum(actuators.map(each => each.distinct))
    if (here >= sent && (await endpointCounts(world)).records >= sent) return
    await pause(200)
  }
}

async function measure(conditions: Conditions): Promise<Outcome> {
  const { warmSeconds } = conditions
  await using world = await World.create({ functions: { counter: { manifest, source } } })
  await world.startEndpoint()
  await world.startDaemon()
  const port = () => world.mqttPort
  const actuators = Array.from({ length: publisherCount }, () => new Ledger())
  let outages: Outages | undefined
  const flowing = Promise.withResolvers<void>()
  const subscriber = new EnduringSubscriber('actuator', port, 'out/#', (topic, payload) => {
    const ledger = actuators[publisherOf(topic)]
    const { n, count } = JSON.parse(payload)
    const before = ledger?.distinct
    ledger?.see(n - firstNumber, count)
    if (ledger?.distinct === before) return
    flowing.resolve()
    outages?.delivered()
    publishers[publisherOf(topic)]?.pump()
  })
  await subscriber.subscribed
  const publishers = actuators.map(
    (ledger, i) =>
      new EnduringPublisher({
        name: `sensor-${i}`,
        port,
        topic: `sensors/${i}/temperature`,
        windowMax,
        underWayMax,
        outcomes: () => ledger.distinct,
      }),
  )
  try {
    await flowing.promise
    await pause(warmSeconds * 1000)
    outages = new Outages()
    const kills = await killUnderLoad(conditions, world, outages)
    outages.end()
    await Promise.all(publishers.map(each => each.finish()))
    const sent = publishers.map(each => each.sent)
    const sentBy = (i: number) => sent[i % publisherCount] ?? 0
    await drained(world, actuators, sum(sent))
    const clouds = actuators.map(() => new Ledger())
    await readCloud(world, clouds)
    const { gaps, lost } = await endpointCounts(world)
    const all = [...actuators, ...clouds]
    return {
      values: {
        ...outages.rates,
        kills,
        admitted: sum(publishers.map(each => each.acknowledged)),
        lost: sum(all.map((each, i) => each.lost(sentBy(i)))),
        doubled: sum(all.map((each, i) => each.doubled(sentBy(i)))),
        copies: sum(actuators.map(each => each.copies)),
      },
      violations: [
        ...all.flatMap((each, i) =>
          each.violations(`${i < publisherCount ? 'actuator' : 'cloud'} ${i % publisherCount}`, sentBy(i)),
        ),
        ...(gaps + lost > 0 ? [`endpoint: ${gaps} gaps, ${lost} lost`] : []),
      ],
    }
  } finally {
    subscriber.stop()
    for (const publisher of publishers) publisher.stop()
  }
}

export const kills: Scenario = {
  name: 'kills',
  profiles: ['box'],
  rounds: 'one',
  choosesSetting: false,
  figures: [
    {
      title: 'killed at random (SIGKILL) under full load: kills / messages admitted',
      values: ['kills', 'admitted'],
      better: 'higher',
    },
    {
      title: '… lost / doubled',
      values: ['lost', 'doubled'],
      better: 'lower',
      goals: [
        { profile: 'box', value: 'lost', atMost: 0 },
        { profile: 'box', value: 'doubled', atMost: 0 },
      ],
    },
    {
      title: '… messages/s between kills / outages included',
      values: ['betweenPerSecond', 'perSecond'],
      better: 'higher',
    },
  ],
  takes: peer => peer.name === 'Fescue',
  measure: (_peer, conditions) => measure(conditions),
}
