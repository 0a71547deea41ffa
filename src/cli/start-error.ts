/** What a daemon that could not start is told more of than its parts know: who has the port, which data folder. */
import { FescueError } from '#base/errors.ts'
import type { DeviceConfig } from '#config/device-config.ts'

/** The error with the remedy for this machine, or as it is. */
export async function withRemedy(error: unknown, config: DeviceConfig): Promise<unknown> {
  if (!(error instanceof FescueError)) return error
  if (error.code === 'FESCUE_PORT_TAKEN') return withPortOwner(error, config)
  if (error.code === 'FESCUE_LISTEN_NO_USERS') return withDataFolder(error, config)
  if (error.code === 'FESCUE_STORE_LOCKED') return withOtherFolder(error, config)
  return error
}

function withOtherFolder(error: FescueError, { data }: DeviceConfig): FescueError {
  const message = `a Fescue runs with the data folder ${data} already: stop it, or give this one its own with --data DIR`
  return new FescueError(error.code, message, { cause: error })
}

/** Names who has the port, and how to choose another. */
async function withPortOwner(error: FescueError, config: DeviceConfig): Promise<FescueError> {
  const { describeOwner, ownerOfPort } = await import('./port-owner.ts')
  for (const [key, port] of [
    ['mqtt', config.mqtt.port],
    ['http', config.http.port],
  ] as const) {
    if (port === 0 || !error.message.includes(String(port))) continue
    const owner = describeOwner(await ownerOfPort(port))
    const mend = `stop it, or choose another port with --${key}-port or ${key}.port in the config`
    return new FescueError(error.code, `port ${port} is taken by ${owner}: ${mend}`, { cause: error })
  }
  return error
}

/** A device that is added to another folder does not help: the command must name this one. */
function withDataFolder(error: FescueError, { data, mqtt }: DeviceConfig): FescueError {
  const message =
    `mqtt.host ${mqtt.host} is reachable from the network, and there is no device with a password yet: ` +
    `add one with "fescue devices add NAME --data ${data}", or set mqtt.host to 127.0.0.1`
  return new FescueError(error.code, message, { cause: error })
}
