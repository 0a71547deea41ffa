import t from 'tap'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import { Catalog } from '#invoker/catalog.ts'
import { removeFunction, removeOrphans } from '#invoker/removal.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'

t.test('a purge that is cut in two counts what it deletes once', async t => {
  const options = { folder: undefined, clock: systemClock, logger: silentLogger, freeDiskMinBytes: 0 }
  await using store = await openStore(options)
  const log = store.log('inbox.f', { maxBytes: 1_000_000, overflow: 'block' })
  const tx = new Transaction()
  for (let i = 0; i < 3; i++) tx.append(log, { time: i, topic: 'a', payload: Buffer.from('x'), qos: 1 })
  await store.write(tx)
  const dying = new Proxy<Store>(store, {
    get(target, name) {
      if (name === 'removeLog') return () => Promise.reject(new Error('the power failed'))
      const value = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  await t.rejects(removeFunction(dying, await Catalog.open(store), 'f'), /power/)
  t.equal(log.records, 0)
  t.same(await removeOrphans(store, await Catalog.open(store)), [], 'the next start finds nothing to keep')
  t.equal(store.findLog('inbox.f'), undefined)
  t.equal(store.ledger.records, 1)
})
