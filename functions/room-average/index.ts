/**
 * A sliding average: remembers the readings of the last minute in its state, and publishes their mean.
 *
 *   sensors/kitchen/temperature {"celsius": 21.4}  ──►  averages/kitchen/temperature {"celsius": 21.2, "readings": 12}
 *
 * The state survives a restart, and after a crash no reading counts twice: each one's change of state is
 * committed together with the note that it is done.
 *
 * Try:
 *   fescue sub 'averages/#'
 *   make it publish every tenth reading only
 *   the device config forwards averages/# to the cloud: press "o" to cut the link, and watch them queue
 */
import { type Context, publish, state } from 'fescue'

interface Reading {
  celsius: number
}

/** The more readings are kept, the more is written for each; a sensor of one reading a second fits well. */
const readingsMax = 120

export async function handler(event: Reading, context: Context) {
  const [, room = 'unknown'] = context.topic.split('/')
  // context.time is when the message was accepted. After a stop it is older than the clock.
  const since = context.time - Number(process.env.WINDOW_SECONDS) * 1000

  const kept = (await state.get<[time: number, celsius: number][]>(room)) ?? []
  const readings = [...kept.filter(([time]) => time > since), [context.time, event.celsius] as const].slice(
    -readingsMax,
  )
  await state.set(room, readings)

  const sum = readings.reduce((total, [, celsius]) => total + celsius, 0)
  const celsius = Math.round((sum / readings.length) * 10) / 10
  publish(`averages/${room}/temperature`, { celsius, readings: readings.length })
}
