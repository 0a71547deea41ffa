import t from 'tap'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import type { DurableConsumer } from '#router/consumer.ts'
import { type Message, toRecord } from '#router/message.ts'
import { Retained, retainedMax } from '#router/retained.ts'
import { Router } from '#router/router.ts'
import type { LogLimits } from '#store/commit-log.ts'
import { openStore } from '#store/open.ts'
import { Transaction } from '#store/transaction.ts'

// The clock's timers do not keep a process alive; this one does.
const alive = setInterval(() => {}, 1_000)
t.teardown(() => clearInterval(alive))

const limits: LogLimits = { maxBytes: 1 << 20, overflow: 'block' }

async function open(blockMs = 50) {
  const store = await openStore({ folder: undefined, clock: systemClock, logger: silentLogger })
  const retained = await Retained.open(store)
  const router = new Router({
    store,
    retained,
    clock: systemClock,
    blockMs,
    durability: [{ filter: 'cheap/#', class: 'memory' }],
  })
  const consumer = (id: string, limit = limits): DurableConsumer => ({
    id,
    log: store.log(id, limit),
    record: (message, qos, messageId) =>
      toRecord(message, qos, id.startsWith('route') ? messageId() : undefined),
  })
  return { store, router, consumer, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() }
}

const message = (topic: string, fields: Partial<Message> = {}): Message => ({
  topic,
  payload: Buffer.from('x'),
  qos: 1,
  retain: false,
  time: 1,
  origin: { kind: 'mqtt', client: 'c' },
  hops: 0,
  ...fields,
})

const topicsIn = async (log: DurableConsumer['log']) =>
  (await log.read(0, { maxRecords: 1000, maxBytes: 1e6 })).records.map(record => record.topic)

t.test('a message is appended once to each consumer, with the highest QoS of its filters', async t => {
  await using parts = await open()
  const { router, consumer } = parts
  const a = consumer('a')
  const seen: number[] = []
  router.subscribe(
    {
      ...a,
      record: (m, qos) => {
        seen.push(qos)
        return toRecord(m, qos)
      },
    },
    's/#',
    0,
  )
  const b = consumer('b')
  router.subscribe(b, 's/+', 1)
  router.subscribe(b, 's/#', 2)
  await router.publish(message('s/1', { qos: 2 }))
  t.same(await topicsIn(a.log), ['s/1'])
  t.same(await topicsIn(b.log), ['s/1'])
  t.same(seen, [0])
  const [record] = (await b.log.read(0, { maxRecords: 1, maxBytes: 1 })).records
  t.equal(record?.qos, 2)
})

t.test('delivery runs once the batch holds, in commit order', async t => {
  await using parts = await open()
  const { router, store, consumer } = parts
  const log = consumer('a')
  router.subscribe(log, '#', 1)
  const order: string[] = []
  router.onDeliver(delivered => order.push(`${delivered.topic} at ${log.log.end > 0}`))
  const tx = new Transaction()
  router.stage(tx, message('one'))
  router.stage(tx, message('two'))
  t.same(order, [], 'nothing before the commit')
  await Promise.all([store.write(tx), router.publish(message('three'))])
  t.same(
    order.map(line => line.split(' ')[0]),
    ['one', 'two', 'three'],
  )
})

t.test('copies in several routes carry one message id, messages have their own', async t => {
  await using parts = await open()
  const { router, consumer } = parts
  const [one, two] = [consumer('route-one'), consumer('route-two')]
  router.subscribe(one, '#', 1)
  router.subscribe(two, '#', 1)
  await router.publish(message('x'))
  await router.publish(message('y'))
  const ids = async (log: DurableConsumer) =>
    (await log.log.read(0, { maxRecords: 9, maxBytes: 1e6 })).records.map(record => record.messageId)
  t.same(await ids(one), await ids(two))
  t.equal(new Set(await ids(one)).size, 2)
})

t.test(
  'a full log with overflow "block" holds back who can wait, and lets it in when there is room',
  async t => {
    await using parts = await open(10_000)
    const { router, store, consumer } = parts
    const small = consumer('small', { maxBytes: 200, overflow: 'block' })
    router.subscribe(small, '#', 1)
    let sent = 0
    while (router.stage(new Transaction(), message('t')).outcome === 'staged' && sent < 100) {
      await router.publish(message('t'))
      sent += 1
    }
    t.ok(sent > 0 && sent < 100, `full after ${sent}`)
    const waiting = router.publish(message('late'))
    const tx = new Transaction()
    tx.truncate(small.log, small.log.end)
    await store.write(tx)
    await waiting
    t.same(await topicsIn(small.log), ['late'])
  },
)

t.test('waiting for room ends after blockMs with FESCUE_STORE_FULL', async t => {
  await using parts = await open(20)
  const { router, consumer } = parts
  router.subscribe(consumer('tiny', { maxBytes: 1, overflow: 'block' }), '#', 1)
  await router.publish(message('an empty log takes one record of any size'))
  await t.rejects(router.publish(message('t')), { code: 'FESCUE_STORE_FULL' })
})

t.test('QoS 0 and wills meet a full "block" log as drop-newest, into the ledger (D4)', async t => {
  await using parts = await open()
  const { router, store, consumer } = parts
  const tiny = consumer('tiny', { maxBytes: 1, overflow: 'block' })
  router.subscribe(tiny, '#', 1)
  await router.publish(message('an empty log takes one record of any size'))
  await router.publish(message('t', { qos: 0 }))
  await router.publish(message('t', { origin: { kind: 'will', client: 'c' } }))
  t.equal(tiny.log.end, 1)
  t.same(store.stats.lost, { qos0: 1, overflow: 1 })
})

t.test("a function's outputs may pass the bound of a log up to twice, not further", async t => {
  await using parts = await open()
  const { router, consumer } = parts
  const log = consumer('inbox', { maxBytes: 2_000, overflow: 'block' })
  router.subscribe(log, '#', 1)
  for (let i = 0; i < 100; i++)
    await router.publish(message('t', { origin: { kind: 'function', name: 'f' } }))
  t.ok(log.log.bytes > 2_000 && log.log.bytes <= 4_000, `${log.log.bytes} bytes`)
})

t.test('retained values are kept in the batch, replaced, and removed by an empty payload', async t => {
  await using parts = await open()
  const { router } = parts
  const values = async (filter: string) => {
    const found: string[] = []
    for await (const record of router.retained.match(filter)) found.push(`${record.topic}=${record.payload}`)
    return found
  }
  await router.publish(message('r/1', { retain: true, payload: Buffer.from('old') }))
  await router.publish(message('r/1', { retain: true, payload: Buffer.from('new') }))
  await router.publish(message('r/2', { retain: true, qos: 0, payload: Buffer.from('zero') }))
  t.same(await values('r/+'), ['r/1=new', 'r/2=zero'])
  t.same(await values('r/2'), ['r/2=zero'])
  await router.publish(message('r/1', { retain: true, payload: Buffer.alloc(0) }))
  t.same(await values('#'), ['r/2=zero'])
})

t.test('retained topics have a bound; beyond it values are delivered but not kept', async t => {
  await using parts = await open()
  const { router, store } = parts
  const tx = new Transaction()
  for (let i = 0; i < retainedMax; i++)
    router.retained.stage(new Transaction(), message(`r/${i}`, { retain: true }))
  router.retained.stage(tx, message('r/last', { retain: true }))
  t.equal(tx.operations.length, 0)
  t.equal(router.retained.refused, 1)
  router.retained.stage(tx, message('r/5', { retain: true }))
  t.equal(tx.operations.length, 1, 'a known topic is still replaced')
  await store.write(tx)
})

t.test('the durability class follows the topic rule, else the QoS', async t => {
  await using parts = await open()
  const { router, consumer } = parts
  router.subscribe(consumer('all'), '#', 1)
  const classOf = (fields: Message) => {
    const tx = new Transaction()
    router.stage(tx, fields)
    return tx.durability
  }
  t.equal(classOf(message('dear')), 'power')
  t.equal(classOf(message('dear', { qos: 0 })), 'process')
  t.equal(classOf(message('cheap/x')), 'memory')
})

t.test('unsubscribing and removing a consumer end its copies', async t => {
  await using parts = await open()
  const { router, consumer } = parts
  const log = consumer('a')
  router.subscribe(log, 'x', 1)
  router.subscribe(log, '+', 1)
  router.unsubscribe(log, 'x')
  await router.publish(message('x'))
  router.remove(log)
  await router.publish(message('x'))
  t.equal(log.log.end, 1)
  t.same(router.consumersOf('x'), [])
})
