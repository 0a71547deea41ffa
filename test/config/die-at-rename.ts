/**
 * Adds a device to the folder named by its argument and dies of SIGKILL at the rename. The rename is replaced
 * before the code under test binds it, hence the imports at the end.
 */
import fs from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'

fs.rename = () => {
  process.kill(process.pid, 'SIGKILL')
  return new Promise(() => {})
}
syncBuiltinESMExports()
const { Devices } = await import('#config/devices.ts')
const { openSecret } = await import('#config/secret.ts')
const dataFolder = process.argv[2] ?? ''
const devices = await Devices.open({ dataFolder, secret: await openSecret(dataFolder) })
await devices.add('garage')
