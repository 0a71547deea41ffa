/**
 * An alarm that reaches the cloud even when the link is down, because it waits on disk until it is acknowledged.
 *
 *   sensors/kitchen/smoke {"smoke": true}  ──►  actuators/kitchen/siren {"on": true}    (retained, here and now)
 *                                          └─►  alarms/kitchen/smoke {"raised": true…}  (a route takes it to the cloud)
 *
 * Which topics leave for the cloud stands in the device config (`routes`), not here: a function only publishes.
 *
 * Try:
 *   press "o" to cut the link, then: fescue pub sensors/kitchen/smoke '{"smoke": true}'
 *   fescue buffer, and press "o" again
 */
import { type Context, publish, state } from 'fescue'

interface Detector {
  smoke: boolean
}

export async function handler(event: Detector, context: Context) {
  const [, room = 'unknown'] = context.topic.split('/')
  const raised = (await state.get<boolean>(`raised/${room}`)) ?? false
  // Detectors repeat themselves; people should not be woken twice.
  if (event.smoke === raised) return

  await state.set(`raised/${room}`, event.smoke)
  publish(`actuators/${room}/siren`, { on: event.smoke }, { qos: 1, retain: true })
  publish(
    `alarms/${room}/smoke`,
    { raised: event.smoke, at: new Date(context.time).toISOString() },
    { qos: 1 },
  )
}
