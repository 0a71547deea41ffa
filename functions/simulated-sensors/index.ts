/**
 * Three rooms whose temperature wanders, and once in a while some smoke. Delete this folder when you have real
 * sensors: it detaches within a second, and nothing else changes.
 *
 * Try:
 *   add a room to ROOMS in function.yaml
 *   a faster schedule: "* * * * * *" is every second
 */
import { publish, state } from 'fescue'

interface Room {
  celsius: number
  smoke: boolean
}

export async function handler() {
  for (const name of (process.env.ROOMS ?? '').split(',')) {
    const room = (await state.get<Room>(name)) ?? { celsius: 23, smoke: false }
    // A random walk that is drawn back to 25 °C, so that fans have something to do.
    room.celsius += (25 - room.celsius) * 0.05 + (Math.random() - 0.5) * 1.6
    publish(`sensors/${name}/temperature`, { celsius: Math.round(room.celsius * 10) / 10 })

    // Smoke begins about once in five minutes and is gone after some ten seconds.
    const smoke = room.smoke ? Math.random() > 0.2 : Math.random() < 0.002
    if (smoke !== room.smoke) publish(`sensors/${name}/smoke`, { smoke }, { qos: 1 })
    await state.set(name, { ...room, smoke })
  }
}
