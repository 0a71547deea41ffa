/** What subscribers get: matching, QoS, retained messages, one copy; with raw sockets and real clients. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import mqttjs from 'mqtt'
import t from 'tap'
import { BrokerRig } from '../harness/broker-rig.ts'
import { RawClient } from '../harness/raw-client.ts'

const run = promisify(execFile)

t.test('QoS is the lower of the published and the granted, for exact and wildcard filters', async t => {
  await using rig = await BrokerRig.start()
  await using publisher = await RawClient.connect(rig.port)
  for (const filter of ['a/b', 'a/+', '#']) {
    for (const granted of [0, 1, 2] as const) {
      await using subscriber = await RawClient.connect(rig.port)
      t.same(await subscriber.subscribe([filter, granted]), [granted])
      for (const qos of [0, 1, 2] as const) {
        publisher.publish('a/b', 'x', qos, 50 + qos)
        const packet = await subscriber.next('publish')
        t.equal(packet.qos, Math.min(qos, granted), `${filter} granted ${granted}, published ${qos}`)
        if (packet.qos === 1) subscriber.send({ cmd: 'puback', messageId: packet.messageId! })
        if (packet.qos === 2) {
          subscriber.send({ cmd: 'pubrec', messageId: packet.messageId! })
          await subscriber.next('pubrel')
          subscriber.send({ cmd: 'pubcomp', messageId: packet.messageId! })
        }
        if (qos === 2) publisher.send({ cmd: 'pubrel', messageId: 52 })
      }
    }
  }
})

t.test('overlapping subscriptions deliver one copy with the highest QoS', async t => {
  await using rig = await BrokerRig.start()
  await using publisher = await RawClient.connect(rig.port)
  for (const clean of [true, false]) {
    await using subscriber = await RawClient.connect(rig.port, { clean, clientId: `overlap ${clean}` })
    await subscriber.subscribe(['o/#', 2], ['o/+', 1], ['o/x', 0])
    publisher.publish('o/x', 'one', 2, 1)
    const packet = await subscriber.next('publish')
    t.equal(packet.qos, 2)
    publisher.send({ cmd: 'pubrel', messageId: 1 })
    await publisher.next('pubcomp')
    await subscriber.roundTrip()
    t.same(subscriber.received, ['one'])
  }
})

t.test('UNSUBSCRIBE ends delivery of that filter only', async t => {
  await using rig = await BrokerRig.start()
  await using publisher = await RawClient.connect(rig.port)
  await using subscriber = await RawClient.connect(rig.port)
  await subscriber.subscribe(['u/#', 1], ['u/b', 1])
  subscriber.send({ cmd: 'unsubscribe', messageId: 5, unsubscriptions: ['u/#'] })
  await subscriber.next('unsuback')
  publisher.publish('u/a', 'no', 1, 1)
  publisher.publish('u/b', 'yes', 1, 2)
  t.same(await subscriber.messages(1), ['yes'])
})

t.test('wildcards in first place do not match $-topics [MQTT-4.7.2-1]', async t => {
  await using rig = await BrokerRig.start()
  await using publisher = await RawClient.connect(rig.port)
  await using subscriber = await RawClient.connect(rig.port)
  await subscriber.subscribe(['#', 1], ['+/x', 1])
  publisher.publish('$own/x', 'hidden', 1, 1)
  publisher.publish('own/x', 'seen', 1, 2)
  t.same(await subscriber.messages(1), ['seen'])
  await subscriber.subscribe(['$own/#', 1])
  publisher.publish('$own/x', 'asked for', 1, 3)
  t.same(await subscriber.messages(2), ['seen', 'asked for'])
})

t.test('a client that publishes to $SYS is cut with a reason', async t => {
  await using rig = await BrokerRig.start()
  await using publisher = await RawClient.connect(rig.port)
  publisher.publish('$SYS/broker/uptime', 'x', 1, 1)
  await publisher.closed
  t.match(rig.lines, [{ fields: { code: 'FESCUE_PACKET_MALFORMED' }, message: /\$SYS/ }])
})

t.test('topics of 100 levels, empty levels and names of JavaScript’s own', async t => {
  await using rig = await BrokerRig.start()
  const deep = Array.from({ length: 100 }, (_, i) => i).join('/')
  const topics = [deep, '/', '//', 'a/', '/a', '__proto__', 'constructor/toString', 'hasOwnProperty']
  for (const clean of [true, false]) {
    await using client = await RawClient.connect(rig.port, {
      clean,
      clientId: clean ? '__proto__' : 'constructor',
    })
    await client.subscribe(...topics.map(topic => [topic, 1] as [string, 1]), ['+/+', 0])
    for (const [i, topic] of topics.entries()) client.publish(topic, String(i), 1, i + 1)
    const got = new Set<string>()
    while (got.size < topics.length) {
      const packet = await client.next('publish')
      got.add(packet.topic)
      if (packet.qos === 1) client.send({ cmd: 'puback', messageId: packet.messageId! })
    }
    t.same([...got].sort(), [...topics].sort())
  }
  await using client = await RawClient.connect(rig.port)
  client.publish(`${deep}/too/deep`, 'x', 1, 1)
  await client.closed
})

t.test('$share is refused with 0x80 and the other filters of the packet are granted', async t => {
  await using rig = await BrokerRig.start()
  for (const clean of [true, false]) {
    const fields = { clean, clientId: `sharing ${clean}` }
    await using client = await RawClient.connect(rig.port, fields)
    t.same(await client.subscribe(['a', 1], ['$share/g/t', 1], ['b', 2]), [1, 0x80, 2])
    const stored = rig.broker.sessions.find(fields.clientId)?.subscriptions.map(({ filter }) => filter)
    t.same(stored?.sort(), clean ? undefined : ['a', 'b'], 'a refused filter is not stored')
  }
})

t.test('D6: subscriptions of one client are bounded, the rest is refused with 0x80', async t => {
  await using rig = await BrokerRig.start()
  await using client = await RawClient.connect(rig.port)
  const filters = Array.from({ length: 1_001 }, (_, i) => [`f/${i}`, 0] as [string, 0])
  const granted = await client.subscribe(...filters)
  t.equal(granted.filter(qos => qos === 0x80).length, 1)
  t.same(await client.subscribe(['one/more', 0]), [0x80])
  t.same(await client.subscribe(['f/1', 1]), [1], 'one that it has may change')
})

t.test('retained: sent at SUBSCRIBE with the flag, live without it, at the lower QoS', async t => {
  await using rig = await BrokerRig.start()
  await using publisher = await RawClient.connect(rig.port)
  publisher.publish('r/1', 'q2', 2, 1, { retain: true })
  publisher.publish('r/2', 'q0', 0, 0, { retain: true })
  publisher.publish('r/3', 'gone', 1, 3, { retain: true })
  publisher.publish('r/3', '', 1, 4, { retain: true })
  await publisher.next('puback')
  await publisher.next('puback')
  for (const clean of [true, false]) {
    await using subscriber = await RawClient.connect(rig.port, { clean, clientId: `retained ${clean}` })
    await subscriber.subscribe(['r/+', 1], ['r/#', 0])
    await subscriber.messages(2)
    await subscriber.roundTrip()
    const got = subscriber.packets.flatMap(packet =>
      packet.cmd === 'publish' ? [[packet.topic, packet.payload.toString(), packet.qos, packet.retain]] : [],
    )
    t.same(
      got.sort(),
      [
        ['r/1', 'q2', 1, true],
        ['r/2', 'q0', 0, true],
      ],
      'each topic once per SUBSCRIBE',
    )
    publisher.publish('r/1', 'live', 1, 5, { retain: true })
    const live = await subscriber.next('publish')
    t.same([live.payload.toString(), live.retain], ['live', false])
    publisher.publish('r/1', 'q2', 1, 6, { retain: true })
  }
})

t.test('retained: a publish before SUBSCRIBE in one read is delivered as retained alone', async t => {
  await using rig = await BrokerRig.start()
  await using client = await RawClient.connect(rig.port)
  client.send(
    { cmd: 'publish', topic: 'own', payload: 'x', qos: 1, messageId: 1, retain: true, dup: false },
    { cmd: 'subscribe', messageId: 2, subscriptions: [{ topic: 'own', qos: 1 }] },
  )
  const packet = await client.next('publish')
  t.ok(packet.retain)
  await client.roundTrip()
  t.equal(client.received.length, 1)
})

t.test('retained: 5,000 values reach a new subscriber in pieces', async t => {
  await using rig = await BrokerRig.start()
  await using publisher = await RawClient.connect(rig.port)
  for (let i = 0; i < 5_000; i++) publisher.publish(`r/${i}`, Buffer.alloc(200, 1), 0, 0, { retain: true })
  await publisher.roundTrip()
  await rig.store.sync()
  await using subscriber = await RawClient.connect(rig.port)
  await subscriber.subscribe(['r/#', 0])
  t.equal((await subscriber.messages(5_000)).length, 5_000)
})

t.test('mosquitto_sub and mosquitto_pub', async t => {
  await using rig = await BrokerRig.start()
  const port = String(rig.port)
  const subscriber = run('mosquitto_sub', [
    '-p',
    port,
    '-t',
    'home/+/temperature',
    '-q',
    '2',
    '-C',
    '3',
    '-v',
  ])
  while (rig.broker.clients.count === 0 || [...rig.broker.clients.list()][0]?.subscriptions !== 1)
    await new Promise(resolve => setImmediate(resolve))
  for (const qos of ['0', '1', '2'])
    await run('mosquitto_pub', ['-p', port, '-t', `home/${qos}/temperature`, '-q', qos, '-m', `2${qos}.5`])
  t.equal(
    (await subscriber).stdout,
    'home/0/temperature 20.5\nhome/1/temperature 21.5\nhome/2/temperature 22.5\n',
  )
})

t.test(
  'mqtt.js: 5,000 QoS 2 messages to a persistent subscriber, each exactly once and in order',
  async t => {
    await using rig = await BrokerRig.start()
    const url = `mqtt://127.0.0.1:${rig.port}`
    const subscriber = await mqttjs.connectAsync(url, { clean: false, clientId: 'js' })
    const got: number[] = []
    const all = Promise.withResolvers<void>()
    const count = 5_000
    subscriber.on('message', (_topic, payload) => {
      if (got.push(Number(payload)) === count) all.resolve()
    })
    await subscriber.subscribeAsync('q2', { qos: 2 })
    const publisher = await mqttjs.connectAsync(url)
    const publishing = Array.from({ length: count }, (_, i) =>
      publisher.publishAsync('q2', String(i), { qos: 2 }),
    )
    await Promise.all(publishing)
    await all.promise
    t.same(
      got,
      Array.from({ length: count }, (_, i) => i),
    )
    await subscriber.endAsync()
    await publisher.endAsync()
  },
)

t.test('MQTT 3.1 clients are served', async _t => {
  await using rig = await BrokerRig.start()
  const client = mqttjs.connect(`mqtt://127.0.0.1:${rig.port}`, {
    protocolId: 'MQIsdp',
    protocolVersion: 3,
    clientId: 'old',
  })
  await new Promise<void>(resolve => client.on('connect', () => resolve()))
  await client.publishAsync('a', 'b', { qos: 1 })
  await client.endAsync()
})
