import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import { StoredInboundIds } from '#broker/inbound-ids.ts'
import { resendMax } from '#broker/resend-table.ts'
import { sessionKey } from '#broker/session-documents.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'

const folder = () => mkdtempDisposable(join(tmpdir(), 'fescue-inbound-'))
const open = (path?: string) => openStore({ folder: path, clock: systemClock, logger: silentLogger })

async function load(store: Store, clientId = 'c') {
  const ids = new StoredInboundIds(store, sessionKey(clientId))
  await ids.load()
  return ids
}

function committed(store: Store, stage: (tx: Transaction) => void): Promise<void> {
  const tx = new Transaction()
  stage(tx)
  return store.write(tx)
}

const released = (ids: StoredInboundIds, packetId: number) =>
  new Promise<void>((resolve, reject) => ids.release(packetId, error => (error ? reject(error) : resolve())))

t.test('a QoS 2 id is known at once, and after a restart if and only if its batch was committed', async t => {
  await using dir = await folder()
  {
    await using store = await open(dir.path)
    const ids = await load(store)
    await committed(store, tx => ids.stage(tx, 65_535))
    await committed(store, tx => ids.stage(tx, 7))
    ids.stage(new Transaction(), 8)
    t.same(
      [7, 8, 9, 65_535].map(id => ids.has(id)),
      [true, true, false, true],
    )
    t.equal(ids.size, 3)
  }
  await using store = await open(dir.path)
  const ids = await load(store)
  t.same(
    [7, 8, 9, 65_535].map(id => ids.has(id)),
    [true, false, false, true],
  )
  t.equal((await load(store, 'other')).size, 0)
})

t.test('PUBCOMP waits until the deletion of the id is safe, a repeated PUBREL too', async t => {
  await using dir = await folder()
  {
    await using store = await open(dir.path)
    const ids = await load(store)
    await committed(store, tx => ids.stage(tx, 1))
    const { syncs } = store.stats
    const order: string[] = []
    const done = (name: string) => order.push(`${name} after ${store.stats.syncs - syncs} syncs`)
    const waiting = [released(ids, 1).then(() => done('first')), released(ids, 1).then(() => done('second'))]
    t.equal(ids.has(1), false)
    t.same(order, [])
    await Promise.all(waiting)
    t.same(order, ['first after 1 syncs', 'second after 1 syncs'])
    await released(ids, 1)
  }
  await using store = await open(dir.path)
  t.equal((await load(store)).has(1), false)
})

t.test('an id that is used again while its release is on the way is a new one', async t => {
  await using store = await open()
  const ids = await load(store)
  await committed(store, tx => ids.stage(tx, 1))
  const first = released(ids, 1)
  await committed(store, tx => ids.stage(tx, 1))
  await first
  t.equal(ids.has(1), true)
  t.equal((await load(store)).has(1), true)
  await released(ids, 1)
  t.equal((await load(store)).has(1), false)
})

t.test('a resend of QoS 1 is known by id and content, over a restart too', async t => {
  await using dir = await folder()
  {
    await using store = await open(dir.path)
    const ids = await load(store)
    await committed(store, tx => {
      ids.stageQos1(tx, 1, 11n)
      ids.stageQos1(tx, 2, 22n)
      ids.stageQos1(tx, 1, 2n ** 64n - 1n)
    })
    t.same([ids.isResend(1, 11n), ids.isResend(1, 2n ** 64n - 1n), ids.isResend(2, 22n)], [false, true, true])
  }
  await using store = await open(dir.path)
  const ids = await load(store)
  t.same([ids.isResend(1, 11n), ids.isResend(1, 2n ** 64n - 1n), ids.isResend(2, 22n)], [false, true, true])
  await committed(store, tx => ids.stage(tx, 2))
  t.equal(ids.isResend(2, 22n), false, 'a QoS 2 publish used the id since')
  t.equal((await load(store)).isResend(2, 22n), false)
})

t.test(`the resend table holds the newest ${resendMax} of many (D6), before and after a restart`, async t => {
  await using dir = await folder()
  const total = 2 * resendMax + 345
  const known = (ids: StoredInboundIds) => {
    let count = 0
    for (let n = 1; n <= total; n++) if (ids.isResend(n, BigInt(n))) count += 1
    return count
  }
  {
    await using store = await open(dir.path)
    const ids = await load(store)
    let tx = new Transaction()
    for (let n = 1; n <= total; n++) {
      ids.stageQos1(tx, n, BigInt(n))
      if (n % 7 > 0 && n < total) continue
      await store.write(tx)
      tx = new Transaction()
    }
    t.equal(known(ids), resendMax)
  }
  await using store = await open(dir.path)
  const ids = await load(store)
  t.ok(known(ids) > resendMax - 8 && known(ids) <= resendMax, `${known(ids)} after the restart`)
  t.equal(ids.isResend(total, BigInt(total)), true)
  const tx = new Transaction()
  ids.clear(tx, 'all')
  await store.write(tx)
  t.equal(known(ids), 0)
  t.equal(known(await load(store)), 0)
})

t.test('the messages of one transaction share the pages of the resend table', async t => {
  await using store = await open()
  const ids = await load(store)
  const tx = new Transaction()
  for (let n = 1; n <= 64; n++) ids.stageQos1(tx, n, BigInt(n))
  t.equal(tx.operations.length, 8)
  await store.write(tx)
  t.equal((await load(store)).isResend(64, 64n), true)
})
