import t from 'tap'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/logger.ts'
import { DeadLetterLog } from '#invoker/dead-letter-log.ts'
import { doneRangesMax } from '#store/checkpoint.ts'
import { openStore } from '#store/open.ts'
import { Transaction } from '#store/transaction.ts'

t.test('taking out of the middle is bounded: then the oldest must go first', async t => {
  await using store = await openStore({
    folder: undefined,
    clock: systemClock,
    logger: silentLogger,
    freeDiskMinBytes: 0,
  })
  const letters = await DeadLetterLog.open(store, 'f')
  const count = 2 * doneRangesMax + 10
  const tx = new Transaction()
  for (let offset = 0; offset < count; offset++)
    letters.stage(
      tx,
      { offset, epoch: 'e', time: 1, topic: 'a', payload: Buffer.from('x'), qos: 1 },
      {
        error: { errorType: 'Error', errorMessage: 'no', trace: [] },
        attempts: 3,
        revision: 'r',
        invocationId: 'i',
        source: `inbox.f.1/${offset}`,
        epoch: 'e',
        diedAt: 5,
        state: {},
      },
    )
  await store.write(tx)
  for (let offset = 1; offset < 2 * doneRangesMax; offset += 2) await letters.drop(offset)
  t.equal(letters.count, count - doneRangesMax)
  await t.rejects(letters.drop(2 * doneRangesMax + 1), {
    code: 'FESCUE_CONFLICT',
    message: /begin with the oldest/,
  })
  await letters.drop(0)
  await letters.drop(2 * doneRangesMax + 1)
  t.equal((await letters.list(5)).length, 5)
  const again = await DeadLetterLog.open(store, 'f')
  t.equal(again.count, letters.count, 'what was taken out stays out')
  t.equal(await again.dropAll(), count - doneRangesMax - 2)
  t.equal(again.count, 0)
})
