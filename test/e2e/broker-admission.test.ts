/** D1 and the order of acknowledgements: real sockets against a store whose writes can be held. */
import t from 'tap'
import { inboundInflightMax } from '#broker/session.ts'
import { BrokerRig, payloadsOf } from '../harness/broker-rig.ts'
import { publishPacket, RawClient } from '../harness/raw-client.ts'

t.test('D1: PUBACK and PUBREC wait for the commit', async t => {
  await using rig = await BrokerRig.start()
  const log = rig.inbox('a/#')
  await using client = await RawClient.connect(rig.port)
  const release = rig.holdWrites()
  client.publish('a/1', 'one', 1, 11)
  client.publish('a/2', 'two', 2, 12)
  client.publish('a/3', 'three', 1, 13)
  await client.roundTrip()
  t.same(client.kinds(), ['connack', 'pingresp'], 'PINGRESP came, no acknowledgement did')
  release()
  await client.next('puback')
  await client.next('pubrec')
  await client.next('puback')
  t.same(client.kinds().slice(2), ['puback 11', 'pubrec 12', 'puback 13'], 'in the order of arrival')
  t.same(await payloadsOf(log), ['one', 'two', 'three'])
})

t.test('a message that nothing keeps is acknowledged without the disk', async t => {
  await using rig = await BrokerRig.start()
  await using client = await RawClient.connect(rig.port)
  const release = rig.holdWrites()
  client.publish('nobody/listens', 'x', 1, 1)
  await client.next('puback')
  release()
  t.pass()
})

t.test('packets of one read are admitted in one batch', async t => {
  await using rig = await BrokerRig.start()
  const log = rig.inbox('#')
  await using client = await RawClient.connect(rig.port)
  const before = rig.backend.batches
  const sent = Array.from({ length: 100 }, (_, i) => publishPacket('a', String(i), 1, i + 1))
  client.send(...sent)
  for (let i = 0; i < 100; i++) await client.next('puback')
  t.ok(rig.backend.batches - before <= 3, `${rig.backend.batches - before} batches for 100 messages`)
  t.same(
    await payloadsOf(log),
    Array.from({ length: 100 }, (_, i) => String(i)),
  )
})

t.test('QoS 2: two copies of an id share one admission, before and after its commit', async t => {
  for (const clean of [true, false]) {
    await using rig = await BrokerRig.start()
    const log = rig.inbox('a/#')
    await using client = await RawClient.connect(rig.port, { clean, clientId: 'twice' })
    const release = rig.holdWrites()
    client.send(publishPacket('a/b', 'x', 2, 7), publishPacket('a/b', 'x', 2, 7, { dup: true }))
    await client.roundTrip()
    t.notOk(client.kinds().includes('pubrec 7'), 'no PUBREC before the commit')
    release()
    await client.next('pubrec')
    await client.next('pubrec')
    client.publish('a/b', 'x', 2, 7, { dup: true })
    await client.next('pubrec')
    client.send({ cmd: 'pubrel', messageId: 7 })
    await client.next('pubcomp')
    t.same(await payloadsOf(log), ['x'], 'published once')
    client.publish('a/b', 'y', 2, 7)
    await client.next('pubrec')
    t.same(await payloadsOf(log), ['x', 'y'], 'after PUBCOMP the id is free')
  }
})

t.test('QoS 2: id and message are one batch', async t => {
  await using rig = await BrokerRig.start()
  rig.inbox('a/#')
  await using client = await RawClient.connect(rig.port, { clean: false, clientId: 'device' })
  await rig.store.sync()
  const before = rig.backend.batches
  client.publish('a/b', 'x', 2, 7)
  await client.next('pubrec')
  t.equal(rig.backend.batches - before, 1)
})

t.test('QoS 1: a resend to a persistent session is acknowledged and not published again', async t => {
  await using rig = await BrokerRig.start()
  const log = rig.inbox('a/#')
  const device = { clean: false, clientId: 'device' }
  await using first = await RawClient.connect(rig.port, device)
  first.publish('a/b', 'x', 1, 5)
  await first.next('puback')
  await first.cut()
  await using second = await RawClient.connect(rig.port, device)
  second.publish('a/b', 'x', 1, 5, { dup: true })
  await second.next('puback')
  t.same(await payloadsOf(log), ['x'])
  second.publish('a/b', 'other', 1, 5, { dup: true })
  await second.next('puback')
  t.same(await payloadsOf(log), ['x', 'other'], 'DUP with another content is another message')
  second.publish('a/b', 'other', 1, 5)
  await second.next('puback')
  t.same(await payloadsOf(log), ['x', 'other', 'other'], 'without DUP it is a new message')
})

t.test('a resend is acknowledged behind the commit of its original', async t => {
  await using rig = await BrokerRig.start()
  rig.inbox('a/#')
  await using client = await RawClient.connect(rig.port, { clean: false, clientId: 'device' })
  const release = rig.holdWrites()
  client.send(publishPacket('a/b', 'x', 1, 5), publishPacket('a/b', 'x', 1, 5, { dup: true }))
  await client.roundTrip()
  t.notOk(client.kinds().includes('puback 5'))
  release()
  await client.next('puback')
  await client.next('puback')
})

t.test('D6: the QoS 2 ids in flight of one client are bounded, PUBREL makes room', async t => {
  await using rig = await BrokerRig.start({ limits: { blockMs: 30_000 } })
  await using client = await RawClient.connect(rig.port)
  const total = inboundInflightMax + 20
  client.send(...Array.from({ length: total }, (_, i) => publishPacket('a', 'x', 2, i + 1)))
  for (let i = 0; i < inboundInflightMax; i++) await client.next('pubrec')
  await client.roundTrip()
  t.equal(client.packets.filter(packet => packet.cmd === 'pubrec').length, inboundInflightMax)
  for (let id = 1; id <= 20; id++) client.send({ cmd: 'pubrel', messageId: id })
  for (let i = 0; i < 20; i++) await client.next('pubrec')
  t.equal(client.packets.filter(packet => packet.cmd === 'pubcomp').length, 20)
})

t.test('D6: a client that never finishes its QoS 2 flows is cut after blockMs', async t => {
  await using rig = await BrokerRig.start({ limits: { blockMs: 100 } })
  await using client = await RawClient.connect(rig.port)
  client.send(...Array.from({ length: inboundInflightMax + 1 }, (_, i) => publishPacket('a', 'x', 2, i + 1)))
  await client.closed
  t.ok(rig.lines.some(line => line.message.includes('never finished')))
})

t.test('live delivery comes after the commit, in order, for all three QoS', async t => {
  await using rig = await BrokerRig.start()
  rig.inbox('a/#')
  await using subscriber = await RawClient.connect(rig.port)
  await subscriber.subscribe(['a/#', 2])
  await using client = await RawClient.connect(rig.port)
  const release = rig.holdWrites()
  client.send(publishPacket('a/0', '0'), publishPacket('a/1', '1', 1, 1), publishPacket('a/2', '2', 2, 2))
  await client.roundTrip()
  await subscriber.roundTrip()
  t.same(subscriber.received, [])
  release()
  t.same(await subscriber.messages(3), ['0', '1', '2'])
})

t.test(
  'an offline persistent session overtakes nothing and loses nothing of an online clean one',
  async t => {
    await using rig = await BrokerRig.start()
    await using offline = await RawClient.connect(rig.port, { clean: false, clientId: 'offline' })
    await offline.subscribe(['a/#', 1])
    await offline.cut()
    await using subscriber = await RawClient.connect(rig.port)
    await subscriber.subscribe(['a/#', 1])
    await using publisher = await RawClient.connect(rig.port)
    const count = 3_000
    for (let from = 0; from < count; from += 100) {
      const some = Array.from({ length: 100 }, (_, i) => [
        publishPacket('a/q0', `noise ${from + i}`),
        publishPacket('a/q1', String(from + i), 1, from + i + 1),
      ])
      publisher.send(...some.flat())
    }
    const received = (await subscriber.messages(2 * count)).filter(payload => !payload.startsWith('noise'))
    t.same(
      received,
      Array.from({ length: count }, (_, i) => String(i)),
      'all, in order',
    )
    await using back = await RawClient.connect(rig.port, { clean: false, clientId: 'offline' })
    let acked = 0
    while (acked < count) {
      const { messageId } = await back.next('publish')
      back.send({ cmd: 'puback', messageId: messageId! })
      acked += 1
    }
    t.same(
      back.received,
      Array.from({ length: count }, (_, i) => String(i)),
      'and from the log',
    )
  },
)

t.test('D1: what follows a full window of messages that nothing keeps waits for its own commit', async t => {
  await using rig = await BrokerRig.start({ limits: { blockMs: 30_000 } })
  const log = rig.inbox('kept')
  await using client = await RawClient.connect(rig.port)
  await rig.store.sync()
  const release = rig.holdWrites()
  const unkept = Array.from({ length: inboundInflightMax }, (_, i) => publishPacket('nobody', 'x', 1, i + 1))
  client.send(...unkept, publishPacket('kept', 'y', 1, 5_000))
  for (let i = 0; i < inboundInflightMax; i++) await client.next('puback')
  await client.roundTrip()
  t.equal(log.end, 0)
  t.notOk(client.kinds().includes('puback 5000'), 'no PUBACK before the commit')
  release()
  t.equal((await client.next('puback')).messageId, 5_000)
  t.equal(log.end, 1)
})

t.test(
  'what was refused with a transaction that is too large is not taken for admitted when it is sent again',
  async t => {
    await using rig = await BrokerRig.start()
    const logs = Array.from({ length: 300 }, () => rig.inbox('large'))
    const small = rig.inbox('small')
    // All in one read, and so in one transaction.
    const large = Buffer.alloc(60_000, 'x')
    const device = { clean: false, clientId: 'device' }
    await using first = await RawClient.connect(rig.port, device)
    first.publish('small', 'before', 2, 3)
    await first.next('pubrec')
    first.send(
      publishPacket('small', 'before', 2, 3, { dup: true }),
      publishPacket('small', 'one', 1, 5),
      publishPacket('small', 'two', 2, 6),
      publishPacket('large', large, 2, 7),
    )
    await first.closed
    t.notOk(first.kinds().includes('pubrec 7'))
    await using second = await RawClient.connect(rig.port, device)
    second.publish('small', 'before', 2, 3, { dup: true })
    second.publish('small', 'one', 1, 5, { dup: true })
    second.publish('small', 'two', 2, 6, { dup: true })
    await second.next('pubrec')
    await second.next('puback')
    await second.next('pubrec')
    t.same(await payloadsOf(small), ['before', 'one', 'two'])
    second.publish('large', large, 2, 7, { dup: true })
    await second.closed
    t.notOk(second.kinds().includes('pubrec 7'))
    t.equal(logs[0]?.end, 0)
  },
)
