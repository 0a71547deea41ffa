/** Whether an address is reachable from the network, and what must be there before one may listen on it. */
import { BlockList, isIP } from 'node:net'
import { FescueError } from '#base/errors.ts'

/** Whether the host is the loopback: `localhost`, 127.0.0.0/8, ::1. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '').replace(/^::ffff:(?=\d+\.)/i, '')
  if (bare.toLowerCase() === 'localhost') return true
  const family = isIP(bare)
  if (family === 0) return false
  const loopback = new BlockList()
  loopback.addSubnet('127.0.0.0', 8, 'ipv4')
  loopback.addAddress('::1', 'ipv6')
  return loopback.check(bare, family === 4 ? 'ipv4' : 'ipv6')
}

/**
 * Called before the MQTT listener opens. Errors: FESCUE_LISTEN_NO_USERS when the host is on the network and
 * nobody could log in, so that everybody could connect.
 */
export function checkMqttListen(host: string, userCount: number): void {
  if (userCount > 0 || isLoopback(host)) return
  throw new FescueError(
    'FESCUE_LISTEN_NO_USERS',
    `mqtt.host is ${host}, which other machines can reach, but there is no user: add one with "fescue devices add NAME", or set mqtt.host to 127.0.0.1`,
  )
}
