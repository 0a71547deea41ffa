/** Names and identities: what is valid, and that ids are equal for equal things and differ for others. */
import fc from 'fast-check'
import t from 'tap'
import { checkName, invocationIds, newEpoch, recordId } from '#base/ids.ts'

t.test('names are 1 to 64 of A-Z a-z 0-9 . _ -', async t => {
  for (const name of ['a', 'greenhouse-1', 'a.b_c-D9', 'x'.repeat(64)])
    t.doesNotThrow(() => checkName('device', name))
  for (const name of ['', 'x'.repeat(65), 'a b', 'a/b', 'ä', 'a\n', '\na', 'a\u0000'])
    t.throws(() => checkName('device', name), { code: 'FESCUE_NAME_INVALID' }, JSON.stringify(name))
})

t.test('an epoch is 12 random hex digits', async t => {
  const epochs = new Set(Array.from({ length: 100 }, newEpoch))
  t.equal(epochs.size, 100)
  for (const epoch of epochs) t.match(epoch, /^[0-9a-f]{12}$/)
})

t.test('a record id names device, epoch, log, incarnation and offset', async t => {
  t.equal(recordId('pi', '0123456789ab', 'outbox.alarms', 3, 17), 'pi/0123456789ab/outbox.alarms.3/17')
})

t.test(
  'invocation ids are UUIDs of version 8 (RFC 9562), equal over calls, different over anything else',
  async t => {
    const ids = invocationIds('0123456789ab', 'thermostat', 'inbox.thermostat', 1)
    t.equal(ids(5), invocationIds('0123456789ab', 'thermostat', 'inbox.thermostat', 1)(5))
    const others = [
      invocationIds('0123456789ac', 'thermostat', 'inbox.thermostat', 1)(5),
      invocationIds('0123456789ab', 'thermostat', 'inbox.thermostat', 2)(5),
      invocationIds('0123456789ab', 'fan', 'inbox.thermostat', 1)(5),
      invocationIds('0123456789ab', 'thermostat', 'inbox.fan', 1)(5),
      ids(6),
    ]
    t.equal(new Set([ids(5), ...others]).size, 6)
    fc.assert(
      fc.property(fc.string(), fc.nat(), fc.nat({ max: 2 ** 48 - 1 }), (name, incarnation, offset) => {
        const id = invocationIds('0123456789ab', name, 'log', incarnation)(offset)
        return /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(id)
      }),
    )
  },
)
