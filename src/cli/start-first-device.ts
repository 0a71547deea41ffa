/** The first device of a daemon that nobody could have set up before its start: in a container. */
import { mkdir } from 'node:fs/promises'
import type { DeviceConfig } from '#config/device-config.ts'
import { Devices } from '#config/devices.ts'
import { openSecret } from '#config/secret.ts'

/**
 * Adds a device of this name unless there is a user already, so that a listener on the network is reachable and not open.
 * Its password, which nobody can look up later; undefined when nothing was added.
 */
export async function addFirstDevice(config: DeviceConfig, name: string): Promise<string | undefined> {
  if (config.users.length > 0) return undefined
  await mkdir(config.data, { recursive: true, mode: 0o700 })
  const devices = await Devices.open({ dataFolder: config.data, secret: await openSecret(config.data) })
  return devices.list().length > 0 ? undefined : await devices.add(name)
}
