/** Sessions of damaged packets, seeded: the broker answers none of them with a crash, a leak or another's loss. */
import mqtt, { type Packet } from 'mqtt-packet'
import t from 'tap'
import { BrokerRig } from '../harness/broker-rig.ts'
import { type Random, seededRandom } from '../harness/random.ts'
import { connectPacket, publishPacket, RawClient } from '../harness/raw-client.ts'

const sessions = 600

function packets(random: Random): Packet[] {
  const clean = random.next() < 0.5
  const list: Packet[] = [
    connectPacket({ clientId: `fuzz-${random.int(0, 20)}`, clean, keepalive: random.int(0, 3) }),
  ]
  for (let i = random.int(0, 12); i > 0; i--) {
    const id = random.int(1, 5)
    list.push(
      random.pick<Packet>([
        publishPacket('f/a', 'x', 0),
        publishPacket('f/a', Buffer.alloc(random.int(0, 3_000), 1), 1, id),
        publishPacket('f/b', 'x', 2, id, { dup: true }),
        { cmd: 'pubrel', messageId: id },
        { cmd: 'puback', messageId: id },
        { cmd: 'pubrec', messageId: id },
        { cmd: 'pubcomp', messageId: id },
        { cmd: 'subscribe', messageId: id, subscriptions: [{ topic: 'f/#', qos: 2 }] },
        { cmd: 'unsubscribe', messageId: id, unsubscriptions: ['f/#'] },
        { cmd: 'pingreq' },
        { cmd: 'disconnect' },
      ]),
    )
  }
  return list
}

function damaged(random: Random, bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes)
  for (let i = random.int(0, 4); i > 0; i--) copy[random.int(0, copy.length)] = random.int(0, 256)
  if (random.next() < 0.2) return copy.subarray(0, random.int(1, copy.length))
  if (random.next() < 0.1) return Buffer.concat([copy, copy])
  return copy
}

t.test('600 damaged sessions beside a healthy one', async t => {
  const random = seededRandom()
  t.comment(`seed ${random.seed}`)
  await using rig = await BrokerRig.start({ limits: { connectTimeoutMs: 300, blockMs: 300 } })
  rig.inbox('f/#', { maxBytes: 1024 * 1024, overflow: 'drop-oldest' })
  await using healthy = await RawClient.connect(rig.port, { clientId: 'healthy' })
  await healthy.subscribe(['h/#', 1])
  for (let i = 0; i < sessions; i += 20) {
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        const client = await RawClient.open(rig.port)
        const bytes = damaged(random, Buffer.concat(packets(random).map(packet => mqtt.generate(packet))))
        for (let at = 0; at < bytes.length; ) {
          const size = random.int(1, 200)
          client.socket.write(bytes.subarray(at, at + size))
          at += size
          if (random.next() < 0.3) await new Promise(resolve => setImmediate(resolve))
        }
        if (random.next() < 0.5) client.socket.end()
        else await new Promise(resolve => setTimeout(resolve, 5))
        await client.cut()
      }),
    )
    healthy.publish('h/alive', String(i), 1, i + 1)
    await healthy.next('puback')
  }
  await healthy.arrived(sessions / 20)
  t.equal(healthy.publishes, sessions / 20, 'the healthy client got all of its messages')
  while (rig.broker.clients.count > 1) await new Promise(resolve => setTimeout(resolve, 10))
  t.same(
    [...rig.broker.clients.list()].map(({ id }) => id),
    ['healthy'],
    'and nobody else is left',
  )
  const defects = rig.lines.filter(({ fields }) => fields.code === 'FESCUE_INTERNAL')
  t.same(defects, [], 'no damaged packet found a defect')
})
