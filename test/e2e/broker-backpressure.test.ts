/** A full log with overflow `block`, and a disk that takes nothing: who waits, who passes, how it ends. */
import mqtt from 'mqtt-packet'
import t from 'tap'
import { Transaction } from '#store/transaction.ts'
import { BrokerRig, payloadsOf } from '../harness/broker-rig.ts'
import { publishPacket, RawClient } from '../harness/raw-client.ts'

const small = { maxBytes: 2_000, overflow: 'block' } as const

t.test('publishes wait for room in order; acknowledgements and PINGREQ behind them pass', async t => {
  await using rig = await BrokerRig.start()
  const log = rig.inbox('full/#', small)
  await using subscriber = await RawClient.connect(rig.port)
  await subscriber.subscribe(['other', 2])
  await using client = await RawClient.connect(rig.port)
  await client.subscribe(['other', 2])
  client.publish('other', 'q2 in', 2, 500)
  const { messageId } = await client.next('publish')
  await client.next('pubrec')

  const payload = (i: number) => `${i}`.padEnd(500, '.')
  for (let i = 1; i <= 8; i++) client.publish('full/a', payload(i), 1, i)
  client.send({ cmd: 'pubrec', messageId: messageId! }, { cmd: 'pubrel', messageId: 500 }, { cmd: 'pingreq' })
  await client.next('pingresp')
  t.ok(client.kinds().includes(`pubrel ${messageId}`), 'PUBREC passed')
  await client.next('pubcomp')
  const acked = () => client.packets.filter(packet => packet.cmd === 'puback').map(packet => packet.messageId)
  while (acked().length === 0) await client.roundTrip()
  await rig.store.sync()
  await client.roundTrip()
  t.ok(acked().length < 8, `${acked().length} of 8 fit`)

  const got: string[] = []
  while (got.length < 8) {
    got.push(...(await payloadsOf(log)))
    const tx = new Transaction()
    tx.truncate(log, log.end)
    await rig.store.write(tx)
    await rig.store.sync()
    await client.roundTrip()
  }
  t.same(
    got,
    Array.from({ length: 8 }, (_, i) => payload(i + 1)),
    'all, in order',
  )
  t.same(acked(), [1, 2, 3, 4, 5, 6, 7, 8])
})

t.test('a publish that finds no room within blockMs ends its connection, others run on', async t => {
  await using rig = await BrokerRig.start({ limits: { blockMs: 200 } })
  rig.inbox('full', small)
  await using neighbour = await RawClient.connect(rig.port)
  await using client = await RawClient.connect(rig.port)
  for (let i = 1; i <= 5; i++) client.publish('full', Buffer.alloc(900), 1, i)
  neighbour.publish('free', 'x', 1, 1)
  await neighbour.next('puback')
  await client.closed
  t.match(rig.lines, [{ fields: { code: 'FESCUE_STORE_FULL' }, message: /block/ }])
  neighbour.publish('free', 'x', 1, 2)
  await neighbour.next('puback')
})

t.test('QoS 0 never waits: it is dropped into the loss ledger', async t => {
  await using rig = await BrokerRig.start()
  const log = rig.inbox('full', small)
  await using client = await RawClient.connect(rig.port)
  for (let i = 0; i < 10; i++) client.publish('full', Buffer.alloc(900), 0)
  await client.roundTrip()
  await rig.store.sync()
  t.ok(log.records < 10)
  t.equal(rig.store.stats.lost.qos0 ?? 0, 10 - log.records)
})

t.test('DISCONNECT overtakes publishes that wait', async t => {
  await using rig = await BrokerRig.start()
  rig.inbox('full', small)
  await using client = await RawClient.connect(rig.port, {
    will: { topic: 'will', payload: Buffer.from('x'), qos: 1, retain: false },
  })
  const wills = rig.inbox('will')
  for (let i = 1; i <= 5; i++) client.publish('full', Buffer.alloc(900), 1, i)
  client.send({ cmd: 'disconnect' })
  await client.closed
  await rig.store.sync()
  t.same(await payloadsOf(wills), [], 'and its will is forgotten')
})

t.test('SUBSCRIBE behind a waiting publish keeps its place', async t => {
  await using rig = await BrokerRig.start()
  const log = rig.inbox('full', small)
  await using client = await RawClient.connect(rig.port)
  for (let i = 1; i <= 3; i++) client.publish('full', Buffer.alloc(900), 1, i)
  client.send({ cmd: 'subscribe', messageId: 9, subscriptions: [{ topic: 'full', qos: 0 }] })
  await client.roundTrip()
  t.notOk(client.kinds().includes('suback 9'))
  await rig.store.sync()
  const tx = new Transaction()
  tx.truncate(log, log.end)
  await rig.store.write(tx)
  await client.next('suback')
  await client.roundTrip()
  t.equal(client.received.length, 0, 'what was published before SUBSCRIBE is not delivered')
})

t.test('while a client waits, what it sends is held up to a bound and then left in the socket', async t => {
  await using rig = await BrokerRig.start()
  rig.inbox('full', small)
  await using client = await RawClient.connect(rig.port)
  for (let i = 1; i <= 3; i++) client.publish('full', Buffer.alloc(900), 1, i)
  let left = 0
  const chunk = Buffer.concat(
    Array.from({ length: 60 }, (_, i) => encode(publishPacket('full', Buffer.alloc(16_000), 1, 100 + i))),
  )
  for (let i = 0; i < 20; i++) client.socket.write(chunk, () => (left += chunk.length))
  for (let still = 0, last = -1; still < 5; still = left === last ? still + 1 : 0) {
    last = left
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  t.ok(left < 20 * chunk.length, `${left} of ${20 * chunk.length} bytes`)
})

t.test('a disk that takes nothing: publishes wait for it and are admitted once it does', async t => {
  await using rig = await BrokerRig.start()
  const log = rig.inbox('a')
  await using client = await RawClient.connect(rig.port)
  let accepting = false
  Object.defineProperty(rig.store, 'accepting', { get: () => accepting, configurable: true })
  client.publish('a', 'waits', 1, 1)
  client.publish('a', 'behind it', 0)
  await client.roundTrip()
  await using other = await RawClient.connect(rig.port)
  other.publish('a', 'dropped', 0)
  await other.roundTrip()
  t.equal(log.end, 0)
  accepting = true
  await client.next('puback')
  t.same(
    await payloadsOf(log),
    ['waits', 'behind it'],
    'QoS 0 keeps its place behind QoS 1, but does not wait itself',
  )
  t.equal(rig.store.stats.lost.qos0, 1, 'it is counted')
})

function encode(packet: ReturnType<typeof publishPacket>): Buffer {
  return mqtt.generate(packet)
}
