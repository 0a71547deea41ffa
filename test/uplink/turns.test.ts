/** Whose turn it is on a link. */
import t from 'tap'
import type { Outbox } from '#uplink/outbox.ts'
import { Turns } from '#uplink/turns.ts'

function fakeOutbox(priority: number, kind: Outbox['kind'] = 'message'): Outbox {
  return { pending: true, priority, kind } as unknown as Outbox
}

t.test('the ledger first, then by weight, and nothing starves', async t => {
  const [low, middle, high, ledger] = [fakeOutbox(0), fakeOutbox(3), fakeOutbox(5), fakeOutbox(9, 'loss')]
  const turns = new Turns()
  t.equal(
    turns.next([low, ledger, high], () => false),
    ledger,
  )
  const counts = new Map([low, middle, high].map(outbox => [outbox, 0]))
  for (let i = 0; i < 4_100; i++) {
    const next = turns.next([low, middle, high], () => false)
    if (next === undefined) throw new Error('no turn')
    counts.set(next, (counts.get(next) ?? 0) + 1)
    turns.charge(next, 1_000)
  }
  t.match(
    [...counts.values()].map(count => Math.round(count / 10)),
    [10, 80, 320],
  )
  t.equal(
    turns.next([low, middle], outbox => outbox === low),
    middle,
  )
  t.equal(
    turns.next([], () => false),
    undefined,
  )
})

t.test('an outbox that was empty saves up no turns', async t => {
  const [busy, idle] = [fakeOutbox(5), fakeOutbox(5)]
  const turns = new Turns()
  for (let i = 0; i < 100; i++) turns.charge(busy, 1_000)
  let run = 0
  while (turns.next([busy, idle], () => false) === idle && run < 50) {
    turns.charge(idle, 1_000)
    run += 1
  }
  t.ok(run <= 2, `${run} in a row`)
})
