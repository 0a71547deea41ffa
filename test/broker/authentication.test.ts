import t from 'tap'
import {
  Authentication,
  failingAddressesMax,
  failureDelayMaxMs,
  freeFailures,
  type Users,
} from '#broker/authentication.ts'
import { ManualClock } from '../fakes/manual-clock.ts'

function users(...names: string[]): Users {
  return {
    size: names.length,
    verify: async (name, password) =>
      names.includes(name) && password.toString() === 'right' ? name : undefined,
    has: async name => names.includes(name),
  }
}
const right = Buffer.from('right')
const wrong = Buffer.from('wrong')

t.test('without users everyone is anonymous, whatever they say', async t => {
  const authentication = new Authentication(users(), new ManualClock(), true)
  t.same(await authentication.check('a', undefined, undefined), { kind: 'anonymous' })
  t.same(await authentication.check('a', 'x', wrong), { kind: 'anonymous' })
})

t.test('on a network address nobody is anonymous, also when the last user was removed', async t => {
  const authentication = new Authentication(users(), new ManualClock(), false)
  t.equal(await authentication.check('a', undefined, undefined), undefined)
})

t.test('with users: right, wrong, unknown, none', async t => {
  const authentication = new Authentication(users('pump'), new ManualClock(), true)
  t.same(await authentication.check('a', 'pump', right), { kind: 'user', username: 'pump' })
  t.equal(await authentication.check('a', 'pump', wrong), undefined)
  t.equal(await authentication.check('a', 'other', right), undefined)
  t.equal(await authentication.check('a', undefined, undefined), undefined)
})

t.test('users that cannot be read let nobody in', async t => {
  const broken: Users = { ...users('pump'), verify: () => Promise.reject(new Error('unreadable')) }
  t.equal(await new Authentication(broken, new ManualClock(), true).check('a', 'pump', right), undefined)
})

t.test('failures slow an address down, and it alone, up to a bound; success forgives', async t => {
  const clock = new ManualClock()
  const authentication = new Authentication(users('pump'), clock, true)
  for (let i = 0; i < freeFailures; i++) await authentication.check('bad', 'pump', wrong)
  t.equal(authentication.delayMs('bad'), 250)
  t.equal(authentication.delayMs('good'), 0)

  let settled = false
  const attempt = authentication.check('bad', 'pump', wrong).then(() => (settled = true))
  clock.advance(249)
  await new Promise(resolve => setImmediate(resolve))
  t.notOk(settled, 'the password is not looked at before the wait is over')
  clock.advance(1)
  await attempt
  t.equal(authentication.delayMs('bad'), 500)

  for (let i = 0; i < 20; i++) {
    const again = authentication.check('bad', 'pump', wrong)
    clock.advance(failureDelayMaxMs)
    await again
  }
  t.equal(authentication.delayMs('bad'), failureDelayMaxMs)
  const success = authentication.check('bad', 'pump', right)
  clock.advance(failureDelayMaxMs)
  t.ok(await success)
  t.equal(authentication.delayMs('bad'), 0)
})

t.test('failures are forgotten after a quarter of an hour', async t => {
  const clock = new ManualClock()
  const authentication = new Authentication(users('pump'), clock, true)
  for (let i = 0; i < freeFailures; i++) await authentication.check('bad', 'pump', wrong)
  clock.advance(15 * 60_000 + 1)
  t.equal(authentication.delayMs('bad'), 0)
})

t.test('D6: the addresses remembered are bounded, the oldest goes first', async t => {
  const authentication = new Authentication(users('pump'), new ManualClock(), true)
  for (let i = 0; i < freeFailures; i++) await authentication.check('first', 'pump', wrong)
  for (let i = 0; i < failingAddressesMax; i++) await authentication.check(`a${i}`, 'pump', wrong)
  t.equal(authentication.delayMs('first'), 0)
})
