/** Names of routes name logs on disk: valid, and made of the route alone. */
import fc from 'fast-check'
import t from 'tap'
import { namePattern } from '#base/ids.ts'
import { routeName, routeNameMax } from '#config/route-name.ts'

t.test('readable where the filter allows it', async t => {
  t.equal(routeName({ filter: 'alarms/#', to: 'default' }), 'alarms.all')
  t.equal(routeName({ filter: 'sensors/+/temperature', to: 'cloud' }), 'cloud.sensors.any.temperature')
  t.equal(routeName({ filter: 'alarms/#', to: 'default', name: 'mine' }), 'mine')
})

t.test('always valid; filters that look equal after replacing stay apart', async t => {
  fc.assert(
    fc.property(fc.string({ minLength: 1, maxLength: 300, unit: 'grapheme' }), filter => {
      const name = routeName({ filter, to: 'default' })
      return namePattern.test(`outbox.${name}.9`) && name.length <= routeNameMax
    }),
  )
  t.not(routeName({ filter: 'a b', to: 'default' }), routeName({ filter: 'a:b', to: 'default' }))
  const long = 'x'.repeat(80)
  t.not(routeName({ filter: `${long}1`, to: 'default' }), routeName({ filter: `${long}2`, to: 'default' }))
})
