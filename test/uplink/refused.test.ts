/** Records that a receiver would not take: listed with the reason, sent again, dropped. */
import t from 'tap'
import { startReceiver } from '../fakes/receiver.ts'
import { routeAll, startDevice, temporary, until } from '../fakes/uplink-rig.ts'

t.test(
  'a refused record is listed with its reason, sent again once the receiver takes it, or dropped',
  async t => {
    await using dir = await temporary()
    let takesAll = false
    await using receiver = await startReceiver(({ method, events }) => {
      if (method !== 'POST') return 404
      const bad = events.some(event => event.data?.n === 'bad' && !takesAll)
      return bad ? { status: 422, body: 'n is a number' } : 204
    })
    await using device = await startDevice({
      folder: `${dir.path}/device`,
      url: `http://127.0.0.1:${receiver.port}/v1/events`,
      routes: [routeAll({ name: 'numbers' })],
    })
    const { refused } = device.uplink
    t.same(await refused.list({ limit: 10 }), [], 'none yet')
    for (const n of [1, 'bad', 2, 'bad', 3]) await device.publish('count', { n })
    await until(async () => (await refused.list({ limit: 10 })).length === 2)
    await device.drained()
    const listed = await refused.list({ route: 'numbers', limit: 10 })
    t.match(listed, [
      { route: 'numbers.5', refusedOffset: 1, topic: 'count', error: { code: 'FESCUE_UPLINK_REFUSED' } },
      { route: 'numbers.5', refusedOffset: 0, offset: 1 },
    ])
    t.match(listed[0]?.error.message, /422|n is a number/)
    await t.rejects(refused.retry('numbrs.5'), {
      code: 'FESCUE_NOT_FOUND',
      message: /did you mean "numbers\.5"/,
    })
    await t.rejects(refused.drop('numbers', [7]), { code: 'FESCUE_NOT_FOUND' })

    t.equal(await refused.drop('numbers.5', [0]), 1)
    takesAll = true
    t.equal(await refused.retry('numbers'), 1)
    await device.drained()
    t.same(await refused.list({ limit: 10 }), [], 'what was sent again is gone from the list')
    t.same(
      receiver.taken.filter(event => event.subject === 'count').map(event => event.data.n),
      [1, 2, 3, 'bad'],
      'and came, as a new record',
    )
  },
)
