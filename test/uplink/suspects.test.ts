/** The search for the record that a receiver will not take. */
import t from 'tap'
import type { OutgoingBatch } from '#uplink/connector.ts'
import type { Outbox } from '#uplink/outbox.ts'
import { buriedInARowMax, Suspects } from '#uplink/suspects.ts'

function batch(from: number, to: number): OutgoingBatch {
  const records = Array.from({ length: to - from }) as unknown as OutgoingBatch['records']
  return { log: 'l', kind: 'message', records, from, to, after: undefined, bytes: 1 }
}

t.test('halved down to one record, tried three times, then buried; never many in a row', async t => {
  const outbox = {} as Outbox
  const suspects = new Suspects(100)
  t.equal(suspects.rejected(outbox, batch(0, 8), 0), 'halve')
  t.equal(suspects.maxRecords(outbox, 100), 4)
  suspects.acknowledged(outbox, 4)
  t.equal(suspects.rejected(outbox, batch(4, 6), 0), 'halve')
  t.equal(suspects.maxRecords(outbox, 100), 1)
  t.equal(suspects.rejected(outbox, batch(4, 5), 0), 'again')
  t.ok(suspects.isWaiting(outbox, 99))
  t.notOk(suspects.isWaiting(outbox, 100))
  t.equal(suspects.waitMs(0, 1_000), 100)
  t.equal(suspects.rejected(outbox, batch(4, 5), 100), 'again')
  t.equal(suspects.rejected(outbox, batch(4, 5), 300), 'bury')
  t.notOk(suspects.isWaiting(outbox, 300), 'the next one goes at once')
  suspects.acknowledged(outbox, 8)
  t.equal(suspects.maxRecords(outbox, 100), 100)
  const verdicts: string[] = []
  for (let offset = 8; verdicts.at(-1) !== 'refuse'; ) {
    const verdict = suspects.rejected(outbox, batch(offset, offset + 1), 0)
    verdicts.push(verdict)
    if (verdict === 'bury') offset += 1
  }
  t.equal(verdicts.filter(verdict => verdict === 'bury').length, buriedInARowMax)
})
