/**
 * A thermostat for any number of rooms, with hysteresis: on above one temperature, off below another.
 *
 * It shows the three things most functions are made of: an event, some state, and an effect. State and effects
 * are kept together or not at all: pull the plug in the middle, and the fan is switched once.
 *
 *   sensors/kitchen/temperature {"celsius": 26.4}  ──►  actuators/kitchen/fan {"on": true}   (retained)
 *
 * Try:
 *   fescue pub sensors/kitchen/temperature '{"celsius": 31}'
 *   fescue invoke thermostat '{"celsius": 19}' --topic sensors/kitchen/temperature
 *   change ON_ABOVE in function.yaml, save, and watch the next messages
 *   throw an error below, save, and look at: fescue dead-letters list
 */
import { type Context, publish, state } from 'fescue'

interface Reading {
  celsius: number
}

export async function handler(event: Reading, context: Context) {
  const [, room = 'unknown'] = context.topic.split('/')
  const wasOn = (await state.get<boolean>(`on/${room}`)) ?? false
  const on = wasOn
    ? event.celsius > Number(process.env.OFF_BELOW)
    : event.celsius > Number(process.env.ON_ABOVE)
  if (on === wasOn) return

  await state.set(`on/${room}`, on)
  // Retained: a fan that connects later, or was away, is told at once what it should do.
  publish(`actuators/${room}/fan`, { on }, { qos: 1, retain: true })
}
