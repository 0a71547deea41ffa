/** The judge of the kills scenario must see each way to break the promise, and nothing where there is none. */
import t from 'tap'
import { Ledger } from '../../bench/ledger.ts'

function ledgerOf(...seen: readonly (readonly [n: number, count: number])[]): Ledger {
  const ledger = new Ledger()
  for (const [n, count] of seen) ledger.see(n, count)
  return ledger
}

t.test('each message once, and copies of the same output: no violation', async t => {
  const ledger = ledgerOf([0, 1], [1, 2], [1, 2], [2, 3])
  t.same(ledger.violations('fan', 3), [])
  t.equal(ledger.distinct, 3)
  t.equal(ledger.copies, 1)
})

t.test('a message without an effect is lost, and is not taken for a doubled one', async t => {
  const ledger = ledgerOf([0, 1], [2, 3])
  t.equal(ledger.lost(3), 1)
  t.equal(ledger.doubled(3), 0)
  t.same(ledger.violations('fan', 3), ['fan: 1 of 3 lost'])
})

t.test('a message that was counted twice is doubled', async t => {
  t.match(ledgerOf([0, 1], [0, 2], [1, 3]).violations('fan', 2), [/1 doubled.*0 counted as 1 and as 2/])
})

t.test('a count beyond the messages is an effect that nobody saw', async t => {
  t.equal(ledgerOf([0, 1], [1, 3]).doubled(2), 1)
})

t.test('two messages with one count lost a state change', async t => {
  t.match(ledgerOf([0, 1], [1, 1]).violations('fan', 2), [/count 1 for messages 0 and 1/])
})

t.test('effects out of order are told', async t => {
  t.match(ledgerOf([1, 1], [0, 2]).violations('fan', 2), [/1 out of order \(0 after 1\)/])
})
