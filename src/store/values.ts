/**
 * Small values carry a CRC32 over key and value, since LevelDB reads without checking by default: a flipped
 * bit in a table comes back as a wrong value in silence.
 */
import { crc32 } from 'node:zlib'

/** CRC (4 bytes) before the value. */
export function seal(key: string, value: Uint8Array): Buffer {
  const sealed = Buffer.allocUnsafe(value.length + 4)
  sealed.writeUInt32BE(crc32(value, crc32(key)), 0)
  sealed.set(value, 4)
  return sealed
}

/** The value, or undefined when key and value do not belong together. */
export function unseal(key: string, sealed: Buffer): Buffer | undefined {
  if (sealed.length < 4) return undefined
  const value = sealed.subarray(4)
  return crc32(value, crc32(key)) === sealed.readUInt32BE(0) ? value : undefined
}

export const sealJson = (key: string, value: unknown): Buffer => seal(key, Buffer.from(JSON.stringify(value)))
