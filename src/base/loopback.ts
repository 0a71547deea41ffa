/** Whether an address can be reached from this machine only. */
import { isIP } from 'node:net'

/** `localhost`, 127.0.0.0/8 (also as IPv4 in IPv6), ::1; brackets are allowed. */
export function isLoopback(host: string): boolean {
  const bare = host
    .toLowerCase()
    .replace(/^\[|\]$/g, '')
    .replace(/^::ffff:(?=\d+\.)/, '')
  if (bare === 'localhost' || bare === '::1') return true
  return isIP(bare) === 4 && bare.startsWith('127.')
}
