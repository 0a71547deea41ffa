import t from 'tap'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import { Retained } from '#router/retained.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'
import { Transaction } from '#store/transaction.ts'

/** A store whose next read of a document waits for `during` to have run. */
async function open(during: (retained: Retained, store: Store) => void) {
  const store = await openStore({ folder: undefined, clock: systemClock, logger: silentLogger })
  const get = store.get.bind(store)
  let once = true
  Object.defineProperty(store, 'get', {
    value: async (space: string, key: string) => {
      const value = await get(space, key)
      if (once) {
        once = false
        during(retained, store)
      }
      return value
    },
  })
  const retained = await Retained.open(store)
  set(retained, store, 'first')
  return { store, retained }
}

function set(retained: Retained, store: Store, payload: string): void {
  const tx = new Transaction()
  retained.stageRecord(tx, { time: 1, topic: 'a', payload: Buffer.from(payload), qos: 1, retain: true })
  store.commit(tx)
}

async function valuesOf(retained: Retained): Promise<string[]> {
  return (await Array.fromAsync(retained.match('#'))).map(({ payload }) => payload.toString())
}

t.test('a value that changes while it is read is read again', async t => {
  const { store, retained } = await open((own, its) => set(own, its, 'second'))
  t.same(await valuesOf(retained), ['second'], 'the older value never follows the newer')
  await store[Symbol.asyncDispose]()
})

t.test('a value that is removed while it is read is not given', async t => {
  const { store, retained } = await open((own, its) => set(own, its, ''))
  t.same(await valuesOf(retained), [])
  await store[Symbol.asyncDispose]()
})

t.test('a topic that is removed and set again at every look does not hold the reader for ever', async t => {
  const { store, retained } = await open(() => {})
  let given = 0
  for await (const { payload } of retained.match('#')) {
    given += 1
    if (given > 10) break
    t.equal(payload.toString(), 'first')
    set(retained, store, '')
    set(retained, store, `again ${given}`)
  }
  t.equal(given, 1)
  await store[Symbol.asyncDispose]()
})
