import t from 'tap'
import { Blame, chargesMax, windowMs } from '#sandbox/blame.ts'

t.test('a suspect is probed until a probe goes well, and is charged with nothing', async t => {
  const blame = new Blame()
  t.same([blame.probing, blame.charged], [false, false])
  blame.suspect()
  t.same([blame.probing, blame.charged, blame.disabled], [true, false, undefined])
  blame.cleared()
  t.equal(blame.probing, false)
})

t.test('the first charge takes it out of shared executors for good', async t => {
  const blame = new Blame()
  t.same(blame.charge(0, 'a', 'signal SIGABRT'), { recordGuilty: false, disabled: false })
  t.same([blame.charged, blame.probing], [true, true])
  blame.cleared()
  t.equal(blame.charged, true)
})

t.test('three charges in ten minutes disable it, with the reason', async t => {
  const blame = new Blame()
  blame.charge(0, 'a', 'x')
  blame.charge(1000, 'b', 'y')
  const last = blame.charge(windowMs - 1, undefined, 'signal SIGABRT')
  t.equal(last.disabled, true)
  t.equal(blame.disabled, `it brought its executor down ${chargesMax} times in 10 minutes: signal SIGABRT`)
})

t.test('charges outside of the window do not add up', async t => {
  const blame = new Blame()
  for (let n = 0; n < 10; n++)
    t.equal(blame.charge(n * (windowMs / 2 + 1), `r${n}`, 'x').disabled, false, `charge ${n}`)
})

t.test('a record that kills twice is guilty, and its second kill is no further charge', async t => {
  const blame = new Blame()
  blame.charge(0, undefined, 'x')
  t.same(blame.charge(1, 'poison', 'x'), { recordGuilty: false, disabled: false })
  t.same(blame.charge(2, 'poison', 'x'), { recordGuilty: true, disabled: false })
  t.same(blame.charge(3, 'other', 'x'), { recordGuilty: false, disabled: true })
})
