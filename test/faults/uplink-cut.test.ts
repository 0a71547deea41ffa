/**
 * The link cut at random bytes of request and answer while records keep coming: the endpoint holds each record
 * once, in order, without a gap (D3). A canary that acknowledges before the receiver does must fail this.
 */
import t from 'tap'
import { systemClock } from '#base/clock.ts'
import type { UplinkConfig } from '#config/device-config.ts'
import type { Connector } from '#uplink/connector.ts'
import { HttpConnector } from '#uplink/http-connector.ts'
import { type Plan, startProxy } from '../fakes/proxy.ts'
import { cloudAt, get, numbersAt, range, startDevice, temporary, until } from '../fakes/uplink-rig.ts'
import { seededRandom } from '../harness/random.ts'

interface Outcome {
  readonly numbers: readonly number[]
  readonly device: { readonly records: number; readonly gaps: number; readonly duplicates: number }
  readonly broken: number
  readonly expected: number
}

interface Run {
  readonly seed: number
  readonly cuts: number
  readonly planner: typeof cutAnywhere
  readonly connect?: (uplink: UplinkConfig) => Connector
}

function cutAnywhere(random: () => number): () => Plan {
  return () => {
    const how = random() < 0.5 ? 'fin' : 'rst'
    // An answer is some 200 bytes: cuts in the first ones fall into numbers and acknowledgements.
    if (random() < 0.5) return { responseBytes: Math.floor(random() * 1_500), how }
    return { requestBytes: Math.floor(random() * 30_000), how }
  }
}

/** Every connection breaks in its first batch. */
function cutFirstBatch(random: () => number): () => Plan {
  return () => ({ requestBytes: 300 + Math.floor(random() * 1_000), how: 'rst' })
}

/** Publishes while the link is cut, until it was cut often enough; then lets it drain. */
async function run({ seed, cuts, planner, connect }: Run): Promise<Outcome> {
  await using dir = await temporary()
  await using cloud = await cloudAt(`${dir.path}/cloud`)
  await using proxy = await startProxy(cloud.port)
  proxy.plan = planner(seededRandom(seed).next)
  const url = `http://127.0.0.1:${proxy.port}/v1/events`
  const more = connect === undefined ? {} : { connect: (uplink: UplinkConfig) => connect({ ...uplink, url }) }
  await using device = await startDevice({ folder: `${dir.path}/device`, url, ...more })
  let expected = 0
  while (proxy.broken < cuts) {
    await device.count(expected, expected + 20)
    expected += 20
    await new Promise(resolve => setTimeout(resolve, 5))
  }
  proxy.plan = () => undefined
  // With the link whole again these arrive, whatever was lost before.
  await device.count(expected, expected + 20)
  expected += 20
  await until(async () => (await numbersAt(cloud)).at(-1) === expected - 1)
  await device.drained()
  return {
    numbers: await numbersAt(cloud),
    device: await get(cloud, '/v1/devices/pi'),
    broken: proxy.broken,
    expected,
  }
}

t.test('cut 60 times at random bytes: each record once, in order, no gap (D3)', async t => {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
  t.comment(`SEED=${seed}`)
  const { numbers, device, broken, expected } = await run({ seed, cuts: 60, planner: cutAnywhere })
  t.ok(broken >= 60, `${broken} cuts, ${expected} records, ${device.duplicates} duplicates dropped`)
  t.same(numbers, range(0, expected))
  t.match(device, { records: expected, gaps: 0 })
})

t.test(
  'the answer cut at every place: what was acknowledged to nobody is sent again and dropped',
  async t => {
    await using dir = await temporary()
    await using cloud = await cloudAt(`${dir.path}/cloud`)
    await using proxy = await startProxy(cloud.port)
    const url = `http://127.0.0.1:${proxy.port}/v1/events`
    await using device = await startDevice({ folder: `${dir.path}/device`, url })
    let n = 0
    for (let at = 1; at < 190; at += 9) {
      proxy.breakAll('rst')
      // The link does not know yet that its idle connection is gone: the next answer is that to a batch.
      proxy.plan = () => ({ responseBytes: at, how: at % 2 === 0 ? 'fin' : 'rst' })
      const before = proxy.broken
      await device.count(n, n + 3)
      n += 3
      await until(() => proxy.broken > before)
      proxy.plan = () => undefined
      await device.drained()
    }
    t.same(await numbersAt(cloud), range(0, n))
    t.match(await get(cloud, '/v1/devices/pi'), { records: n, gaps: 0 })
  },
)

t.test('a link that swallows everything is found out by the deadline', async t => {
  await using dir = await temporary()
  await using cloud = await cloudAt(`${dir.path}/cloud`)
  await using proxy = await startProxy(cloud.port)
  const url = `http://127.0.0.1:${proxy.port}/v1/events`
  const timings = { requestTimeoutMs: 200, probeMs: 200 }
  await using device = await startDevice({ folder: `${dir.path}/device`, url, timings })
  const state = () => device.uplink.status().links[0]?.link
  await device.count(0, 100)
  await device.drained()
  proxy.plan = () => ({ requestBytes: 0, how: 'blackhole' })
  proxy.breakAll('blackhole')
  await device.count(100, 200)
  await until(() => state()?.state === 'offline')
  t.match(state(), { reason: /no answer within \d+ ms/ })
  proxy.plan = () => undefined
  await device.drained()
  t.same(await numbersAt(cloud), range(0, 200))
  proxy.breakAll('blackhole')
  proxy.plan = () => ({ requestBytes: 0, how: 'blackhole' })
  await until(() => state()?.state === 'offline')
  t.pass('an idle link too, by the probe')
})

/** A connector with the one fault that the harness must find: it acknowledges what it has not delivered. */
class EarlyConnector extends HttpConnector {
  override async send(...[encoded, options]: Parameters<HttpConnector['send']>) {
    void super.send(encoded, options)
    return { type: 'acknowledged' as const }
  }
}

t.test(
  'canary: a checkpoint that moves before the acknowledgement loses records, and the harness sees it',
  async t => {
    const connect = ({ url }: UplinkConfig) =>
      new EarlyConnector({ device: 'pi', url, clock: systemClock, environment: {} })
    const { numbers, device, expected } = await run({ seed: 7, cuts: 20, planner: cutFirstBatch, connect })
    t.notSame(numbers, range(0, expected))
    t.ok(device.gaps > 0, `the endpoint itself counts ${device.gaps} gaps`)
  },
)
