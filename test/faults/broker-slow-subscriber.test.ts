/** A subscriber that stops reading: nobody else notices, its backlog is bounded, and it is cut. */
import t from 'tap'
import { liveBacklogHardMaxBytes, liveBacklogMaxBytes } from '#broker/live-client.ts'
import { linkBacklogMaxBytes } from '#broker/session.ts'
import { BrokerRig } from '../harness/broker-rig.ts'
import { RawClient } from '../harness/raw-client.ts'

const payload = Buffer.alloc(8_000, 1)

/** Publishes and waits for the echo, so many times; returns the longest wait in milliseconds. */
async function longestEcho(
  client: RawClient,
  topic: string,
  times: number,
  qos: 0 | 1,
  each: () => void,
): Promise<number> {
  let longest = 0
  for (let i = 1; i <= times; i++) {
    const start = performance.now()
    client.publish(topic, payload, qos, i)
    await client.arrived(i)
    longest = Math.max(longest, performance.now() - start)
    each()
  }
  return longest
}

for (const qos of [0, 1] as const) {
  t.test(`a stalled subscriber freezes nobody (QoS ${qos})`, async t => {
    await using rig = await BrokerRig.start({ limits: { drainTimeoutMs: 300 } })
    await using stalled = await RawClient.connect(rig.port, { clientId: 'stalled' })
    await stalled.subscribe(['load', qos])
    stalled.socket.pause()
    await using client = await RawClient.connect(rig.port)
    await client.subscribe(['load', 0])
    let peak = 0
    const backlog = () => [...rig.broker.clients.list()].find(({ id }) => id === 'stalled')?.backlogBytes ?? 0
    const longest = await longestEcho(client, 'load', 2_000, qos, () => {
      peak = Math.max(peak, backlog())
    })
    t.ok(longest < 500, `longest wait of its neighbour ${longest.toFixed(1)} ms`)
    t.ok(peak > liveBacklogMaxBytes / 2, 'it did stall')
    t.ok(peak <= (qos === 0 ? liveBacklogMaxBytes : liveBacklogHardMaxBytes) + 200_000, `${peak} bytes`)
    while (rig.broker.clients.count > 1) await new Promise(resolve => setTimeout(resolve, 10))
    t.match(rig.lines.at(-1), { message: /reads too slowly/, fields: { client: 'stalled' } })
  })
}

t.test('D6: a backlog at the hard bound ends the connection at once', async t => {
  await using rig = await BrokerRig.start({ limits: { drainTimeoutMs: 60_000 } })
  await using stalled = await RawClient.connect(rig.port, { clientId: 'stalled' })
  await stalled.subscribe(['load', 1])
  stalled.socket.pause()
  await using client = await RawClient.connect(rig.port)
  const big = Buffer.alloc(200_000)
  for (let i = 1; rig.broker.clients.count > 1 && i < 200; i++) {
    client.publish('load', big, 1, i)
    await client.next('puback')
  }
  t.equal(rig.broker.clients.count, 1)
})

t.test('a persistent subscriber that stalls keeps its messages in its log, not in memory', async t => {
  await using rig = await BrokerRig.start({ broker: { sessionLimits: { inflightMax: 1_000 } } })
  await using stalled = await RawClient.connect(rig.port, { clientId: 'stalled', clean: false })
  await stalled.subscribe(['load', 1])
  stalled.socket.pause()
  await using client = await RawClient.connect(rig.port)
  const big = Buffer.alloc(100_000)
  for (let i = 1; i <= 120; i++) client.publish('load', big, 1, i)
  for (let i = 1; i <= 120; i++) await client.next('puback')
  const [info] = [...rig.broker.clients.list()].filter(({ id }) => id === 'stalled')
  const backlogBytes = info?.backlogBytes ?? 0
  t.ok(backlogBytes > 0 && backlogBytes <= linkBacklogMaxBytes + 2 * big.length, `${backlogBytes} bytes`)
  stalled.socket.resume()
  for (let i = 0; i < 120; i++)
    stalled.send({ cmd: 'puback', messageId: (await stalled.next('publish')).messageId! })
  t.equal(stalled.publishes, 120)
})

t.test('a slow reader that keeps up again is not cut', async t => {
  await using rig = await BrokerRig.start({ limits: { drainTimeoutMs: 2_000 } })
  await using slow = await RawClient.connect(rig.port, { clientId: 'slow' })
  await slow.subscribe(['load', 1])
  slow.socket.pause()
  await using client = await RawClient.connect(rig.port)
  const backlog = () => [...rig.broker.clients.list()].find(({ id }) => id === 'slow')?.backlogBytes ?? 0
  let sent = 0
  while (backlog() <= liveBacklogMaxBytes) {
    client.publish('load', payload, 1, (sent++ % 60_000) + 1)
    await client.next('puback')
  }
  client.publish('load', payload, 1, (sent++ % 60_000) + 1)
  slow.socket.resume()
  await slow.arrived(sent)
  t.equal(slow.publishes, sent)
})

t.test('D6: a client that asks and never reads the answers is cut', async t => {
  await using rig = await BrokerRig.start()
  await using client = await RawClient.connect(rig.port, { clientId: 'deaf' })
  client.socket.pause()
  const flood = Buffer.alloc(256 * 1024)
  for (let at = 0; at < flood.length; at += 4) flood.set([0x62, 2, 0, 9], at)
  let bytes = 0
  while (rig.broker.clients.count > 0) {
    if (!client.socket.write(flood))
      await new Promise(resolve => client.socket.once('drain', resolve).once('close', resolve))
    bytes += flood.length
    if (bytes > 64 * 1024 * 1024) return t.fail('64 MiB of answers were kept')
  }
  t.match(rig.lines.at(-1), { message: /answers not read/, fields: { client: 'deaf' } })
})
