import t from 'tap'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import { StateSpace, stateKeysMax, stateMaxBytes, stateValueMaxBytes } from '#invoker/state-space.ts'
import { openStore } from '#store/open.ts'
import { Transaction } from '#store/transaction.ts'

const memory = () =>
  openStore({ folder: undefined, clock: systemClock, logger: silentLogger, freeDiskMinBytes: 0 })
const set = (key: string, value: string) => ({ type: 'set', key, value }) as const

t.test('what is applied is read at once, before and after the commit, and after opening again', async t => {
  await using store = await memory()
  const state = await StateSpace.open(store, 'f')
  const tx = new Transaction()
  state.apply(tx, set('a', '1'))
  state.apply(tx, set('b', '2'))
  state.apply(tx, { type: 'delete', key: 'b' })
  t.same([await state.read('a'), await state.read('b'), await state.read('c')], ['1', undefined, undefined])
  await store.write(tx)
  state.committed()
  t.equal(await state.read('a'), '1')
  const again = await StateSpace.open(store, 'f')
  t.same([again.keys, again.bytes, await again.read('a')], [1, 1, '1'])
  t.equal((await StateSpace.open(store, 'ff')).keys, 0, 'another function whose name begins the same')
})

t.test('of several effects on a key the last counts against the bounds', async t => {
  await using store = await memory()
  const state = await StateSpace.open(store, 'f')
  const tx = new Transaction()
  const value = 'x'.repeat(stateValueMaxBytes)
  const keys = stateMaxBytes / stateValueMaxBytes
  for (let i = 0; i < keys; i++) state.apply(tx, set(`k${i}`, value))
  const remove = { type: 'delete', key: 'k0' } as const
  t.equal(state.problemOf([remove, set('new', value), set('new', value)]), undefined)
  t.match(state.problemOf([remove, set('k0', value), set('new', value)]), { code: 'FESCUE_STATE_FULL' })
  t.match(state.problemOf([set('new', 'x'), remove, set('k0', value)]), { code: 'FESCUE_STATE_FULL' })
})

t.test('a read on its way does not overwrite what was written meanwhile', async t => {
  await using store = await memory()
  const tx = new Transaction()
  tx.put('state', 'f/a', Buffer.from('1'))
  await store.write(tx)
  const state = await StateSpace.open(store, 'f')
  const reading = state.read('a')
  state.apply(new Transaction(), set('a', '2'))
  await reading
  state.committed()
  t.equal(await state.read('a'), '2')
})

t.test('values, keys and the whole have bounds', async t => {
  await using store = await memory()
  const state = await StateSpace.open(store, 'f')
  const tx = new Transaction()
  t.match(state.problemOf([set('a', 'x'.repeat(stateValueMaxBytes + 1))]), { code: 'FESCUE_STATE_FULL' })
  t.match(state.problemOf([set('k'.repeat(513), '1')]), { message: /512/ })
  const full = stateMaxBytes / stateValueMaxBytes
  for (let i = 0; i < full; i++) {
    t.equal(state.problemOf([set(`v${i}`, 'x'.repeat(stateValueMaxBytes))]), undefined)
    state.apply(tx, set(`v${i}`, 'x'.repeat(stateValueMaxBytes)))
  }
  t.match(state.problemOf([set('one', '1')]), { message: /exceeds 16777216 bytes/ })
  t.equal(state.problemOf([set('v1', '1')]), undefined, 'making it smaller is allowed')
  state.apply(tx, { type: 'delete', key: 'v0' })
  t.equal(state.problemOf([set('one', '1')]), undefined)
  for (let i = state.keys; i < stateKeysMax; i++) state.apply(tx, set(`k${i}`, '1'))
  t.match(state.problemOf([set('another', '1')]), { message: /exceeds 10000 keys/ })
  t.equal(state.problemOf([set('k100', '2')]), undefined)
  t.ok(JSON.stringify(state.recent(8_192)).length < 20_000)
})
