/** The table of admitted messages of a downlink: bounded, kept over a restart, emptied with the session. */
import t from 'tap'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import { openStore } from '#store/open.ts'
import { Transaction } from '#store/transaction.ts'
import { Redelivery, redeliveriesMax } from '#uplink/redelivery.ts'
import { range } from '../fakes/uplink-rig.ts'

t.test('it keeps the newest entries, and loads them again (D6)', async t => {
  await using store = await openStore({
    folder: undefined,
    freeDiskMinBytes: 0,
    clock: systemClock,
    logger: silentLogger,
  })
  const open = async (uplink: string) => {
    const opened = new Redelivery(store, uplink)
    await opened.load()
    return opened
  }
  const table = await open('cloud')
  const payload = Buffer.from('on')
  const tx = new Transaction()
  for (const id of range(1, redeliveriesMax + 11)) table.note(tx, id, 'a', payload)
  table.note(tx, 20, 'a', payload)
  await store.write(tx)
  t.equal(table.size, redeliveriesMax)
  const loaded = await open('cloud')
  t.equal(loaded.size, redeliveriesMax)
  for (const each of [table, loaded]) {
    t.notOk(each.has(10, 'a', payload), 'the oldest are gone')
    t.ok(each.has(11, 'a', payload))
    t.ok(each.has(redeliveriesMax + 10, 'a', payload))
    t.notOk(each.has(11, 'b', payload), 'another topic')
    t.notOk(each.has(11, 'a', Buffer.from('off')), 'another content')
  }
  t.equal((await open('other')).size, 0, 'each uplink has its own')
  await loaded.clear()
  t.equal(loaded.size, 0)
  t.equal((await open('cloud')).size, 0)
})
