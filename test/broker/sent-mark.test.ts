import t from 'tap'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import { SentMark, sentToStep, sentToStepMax } from '#broker/sent-mark.ts'
import { openStore } from '#store/open.ts'
import { Transaction } from '#store/transaction.ts'

async function open(sentTo = 0) {
  const store = await openStore({ folder: undefined, clock: systemClock, logger: silentLogger })
  const written: number[] = []
  let kept = sentTo
  let wake = () => {}
  const mark = new SentMark({
    store,
    sentTo,
    write: (tx, to) => {
      written.push(to)
      tx.onCommitted(() => {
        kept = to
      })
    },
    onSafe: () => wake(),
  })
  return {
    store,
    mark,
    written,
    kept: () => kept,
    safe: () =>
      new Promise<void>(resolve => {
        wake = resolve
      }),
    [Symbol.asyncDispose]: async () => store[Symbol.asyncDispose](),
  }
}

t.test('a message leaves only when a mark above it is kept, however fast', async t => {
  await using parts = await open()
  const { mark, written } = parts
  let waits = 0
  for (let offset = 0; offset < 20_000; offset++) {
    const safe = parts.safe()
    if (!mark.covers(offset)) {
      waits += 1
      await safe
      if (!mark.covers(offset)) throw new Error(`woken, but offset ${offset} may not leave`)
    }
    if (parts.kept() <= offset) throw new Error(`offset ${offset} left before its mark was kept`)
  }
  t.ok(waits > 0 && waits < 60, `${waits} waits`)
  const steps = written.map((to, i) => to - (written[i - 1] ?? 0))
  t.ok(Math.max(...steps) <= sentToStepMax, `longest step ${Math.max(...steps)}`)
})

t.test('a slow session writes once per half a step and never waits after the first', async t => {
  await using parts = await open()
  const { mark, store, written } = parts
  const tx = new Transaction()
  mark.reserve(tx, 0)
  await store.write(tx)
  for (let offset = 0; offset < 640; offset++) {
    t.ok(mark.covers(offset))
    await store.sync()
  }
  t.ok(written.length <= 1 + 640 / (sentToStep / 2), `${written.length} writes`)
})

t.test('a mark on its way does not count once the connection has ended', async t => {
  await using parts = await open(10)
  const { mark, store, written } = parts
  t.equal(mark.resendBelow, 10)
  t.equal(mark.covers(10), false)
  const tx = new Transaction()
  mark.settle(tx, 4)
  await store.write(tx)
  t.equal(mark.resendBelow, 10, 'what an earlier connection sent stays sent')
  t.equal(written.at(-1), 10)
  t.equal(mark.covers(10), false, 'the mark of 10 + 64 was overwritten')
})
